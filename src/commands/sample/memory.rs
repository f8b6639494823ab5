//! Whether a clip fits into memory, told before anything is loaded.

use crate::exit::missing;
use omni_model::{
    checkpoint::Config,
    codec::lengths,
    generate::{Precision, Request, cost, nearest_side},
};

/// Bytes that programs may still take, as Linux tells it; `None` elsewhere.
pub fn free() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

/// Fails if a request takes more than there is, with the settings that would do.
pub fn enough(
    config: &Config,
    request: &Request,
    precision: Precision,
    limit_mib: Option<u64>,
) -> anyhow::Result<()> {
    let Some(room) = limit_mib.map(|mib| mib << 20).or_else(free) else {
        return Ok(());
    };
    let cost = cost(config, request, precision)?;
    if cost.memory <= room {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let remedies = fitting(config, request, precision, room)?;
    let advice = match remedies.is_empty() {
        true => "no smaller size fits either: the weights alone are too large; take a smaller checkpoint or another machine".to_owned(),
        false => format!("this would fit: {}", remedies.join("; or ")),
    };
    Err(missing(format!(
        "about {} MiB are needed ({} is the largest part), {} MiB are there; {advice}",
        mib(cost.memory),
        cost.largest,
        room >> 20
    )))
}

/// Changes of the request that fit, the smallest change first, one of each kind.
fn fitting(
    config: &Config,
    request: &Request,
    precision: Precision,
    room: u64,
) -> anyhow::Result<Vec<String>> {
    let fits = |request: &Request, precision| -> anyhow::Result<bool> {
        Ok(cost(config, request, precision)?.memory <= room)
    };
    let mut found = Vec::new();
    if precision == Precision::F32 && fits(request, Precision::Bf16)? {
        found.push("--dtype bf16".to_owned());
    }
    for tenths in [9, 8, 7, 6, 5, 4, 3, 2, 1] {
        let side = |side: usize| nearest_side(side * tenths / 10);
        let smaller = Request {
            width: side(request.width),
            height: side(request.height),
            ..request.clone()
        };
        if smaller.width < request.width && fits(&smaller, precision)? {
            found.push(format!("--size {}x{}", smaller.width, smaller.height));
            break;
        }
    }
    let seconds = (request.frames.saturating_sub(1)) as f64 / 6.0;
    for share in [0.75, 0.5, 0.25] {
        let Ok((frames, sounds)) = lengths(seconds * share) else {
            break;
        };
        let shorter = Request {
            frames,
            sounds,
            ..request.clone()
        };
        if fits(&shorter, precision)? {
            found.push(format!("--seconds {:.1}", seconds * share));
            break;
        }
    }
    Ok(found)
}
