//! Whether a clip fits into memory, told before anything is loaded.

use crate::exit::missing;
use omni_model::{
    checkpoint::Config,
    codec::lengths,
    generate::{Cost, Layout, Place, Precision, Request, cost, nearest_side},
};

/// Bytes that programs may still take, as Linux tells it; `None` elsewhere.
pub fn free() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// The most that a request takes, where, and for which phase.
pub fn told(cost: &Cost, layout: &Layout) -> String {
    let (bytes, phase) = cost.on_device(layout.offload);
    match cost.aside(layout.offload) {
        (0, _) => format!("{} MiB ({phase})", mib(bytes)),
        (aside, other) => format!(
            "{} MiB ({phase}) on {}, {} MiB ({other}) on the processor",
            mib(bytes),
            layout.place.device,
            mib(aside)
        ),
    }
}

/// Room of the backbone's device, where it is known.
fn room(place: &Place) -> Option<u64> {
    if place.is_cpu() {
        free()
    } else {
        place.free_memory()
    }
}

/// Fails if a request takes more than there is, with the settings that would do. `limit_mib` is of the backbone's device.
pub fn enough(
    config: &Config,
    request: &Request,
    layout: &Layout,
    limit_mib: Option<u64>,
) -> anyhow::Result<()> {
    let cost = cost(config, request, layout.place.precision)?;
    let (aside, phase) = cost.aside(layout.offload);
    if let Some(room) = free().filter(|room| aside > *room) {
        return Err(missing(format!(
            "about {} MiB are needed on the processor ({phase} is the largest part there), {} MiB are there; this would fit on a card that has as much: no --offload",
            mib(aside),
            room >> 20
        )));
    }
    let Some(room) = limit_mib
        .map(|mib| mib.saturating_mul(1 << 20))
        .or_else(|| room(&layout.place))
    else {
        return Ok(());
    };
    let (needed, phase) = cost.on_device(layout.offload);
    if needed <= room {
        return Ok(());
    }
    let remedies = fitting(config, request, layout, room)?;
    let advice = match remedies.is_empty() {
        true => "no smaller size fits either: the weights are too large; take a smaller checkpoint or another machine".to_owned(),
        false => format!("this would fit: {}", remedies.join("; or ")),
    };
    Err(missing(format!(
        "about {} MiB are needed ({phase} is the largest part), {} MiB are there; {advice}",
        mib(needed),
        room >> 20
    )))
}

/// Changes of the request that fit, the smallest change first, one of each kind.
fn fitting(config: &Config, request: &Request, layout: &Layout, room: u64) -> anyhow::Result<Vec<String>> {
    let precision = layout.place.precision;
    let fits_with = |request: &Request, precision, offload| -> anyhow::Result<bool> {
        Ok(cost(config, request, precision)?.on_device(offload).0 <= room)
    };
    let fits = |request: &Request, precision| fits_with(request, precision, layout.offload);
    let mut found = Vec::new();
    if !layout.place.is_cpu() && !layout.offload && fits_with(request, precision, true)? {
        found.push("--offload".to_owned());
    }
    if precision == Precision::F32 && fits(request, Precision::Bf16)? {
        found.push("--dtype bf16".to_owned());
    }
    for share in shares(request.width.max(request.height)) {
        let side = |side: usize| nearest_side((side as f64 * share) as usize);
        let smaller = Request {
            width: side(request.width),
            height: side(request.height),
            ..request.clone()
        };
        let is_smaller = smaller.width * smaller.height < request.width * request.height;
        if is_smaller && fits(&smaller, precision)? {
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
    if found.is_empty() {
        // neither alone: the least of both
        let (frames, sounds) = lengths(LEAST_SECONDS)?;
        let least = Request {
            width: LEAST_SIDE,
            height: LEAST_SIDE,
            frames: frames.min(request.frames),
            sounds: sounds.min(request.sounds),
            ..request.clone()
        };
        if fits(&least, precision)? {
            found.push(format!(
                "--size {LEAST_SIDE}x{LEAST_SIDE} --seconds {LEAST_SECONDS}"
            ));
        }
    }
    Ok(found)
}

/// The smallest side, and a length that is hardly any.
const LEAST_SIDE: usize = 32;
const LEAST_SECONDS: f64 = 0.25;

/// Shares of a side to be tried, the largest first: tenths, then halves of halves down to the smallest side.
fn shares(side: usize) -> Vec<f64> {
    let mut all: Vec<f64> = (1..10).rev().map(|tenths| f64::from(tenths) / 10.0).collect();
    let mut share = 0.05;
    while share * side as f64 >= LEAST_SIDE as f64 / 2.0 {
        all.push(share);
        share /= 2.0;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_model::{
        checkpoint::Preset,
        generate::{GuidanceMode, Request},
        sample::SolverKind,
    };

    fn request() -> Request {
        Request {
            prompt: "A man.".to_owned(),
            spans: None,
            negative_video: String::new(),
            negative_audio: String::new(),
            subjects: Vec::new(),
            first_frame: None,
            width: 704,
            height: 704,
            frames: 31,
            sounds: 157,
            steps: 50,
            solver: SolverKind::UniPc,
            shift: 5.0,
            guidance_video: 4.0,
            guidance_audio: 3.0,
            guidance_mode: GuidanceMode::Ref3,
            slg_layer: 11,
            seed: 0,
        }
    }

    fn on(device: &str, offload: bool) -> Layout {
        Layout {
            place: Place {
                device: device.to_owned(),
                precision: Precision::Bf16,
            },
            offload,
        }
    }

    #[test]
    fn what_is_offloaded_counts_on_the_processor() {
        // a text encoder of the released size, held in f32, is what the card has no room for
        let mut config = Config::preset(Preset::P720, 0).unwrap();
        config.text = omni_model::net::Umt5Config::xxl();
        let cost = cost(&config, &request(), Precision::Bf16).unwrap();
        let (all, phase) = cost.on_device(false);
        assert_eq!((all, phase), (cost.memory, cost.largest.as_str()));
        assert_eq!(cost.aside(false), (0, ""));
        let (card, phase) = cost.on_device(true);
        assert!(phase == "denoise" && card <= all);
        let (aside, phase) = cost.aside(true);
        assert!(phase == "text" && aside > 20 << 30, "{aside}");
        assert!(told(&cost, &on("cuda:0", true)).contains("on cuda:0, "));
        assert!(!told(&cost, &on("cuda:0", false)).contains("on the processor"));
    }

    #[test]
    fn a_card_that_is_too_small_is_told_to_offload_where_that_helps() {
        let mut config = Config::preset(Preset::Tiny, 0).unwrap();
        // a table of tokens that is larger than the card
        config.text.vocab = 100_000_000;
        let error = enough(&config, &request(), &on("cuda:0", false), Some(8 << 10)).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("this would fit: --offload"), "{message}");
    }

    #[test]
    fn advice_goes_down_to_the_smallest_size_before_the_weights_are_blamed() {
        let config = Config::preset(Preset::Tiny, 0).unwrap();
        let wide = Request {
            width: 16_384,
            height: 16_384,
            ..request()
        };
        let said = |request: &Request, limit| {
            let error = enough(&config, request, &on("cuda:0", false), Some(limit)).unwrap_err();
            error.to_string()
        };
        let message = said(&wide, 32);
        assert!(message.contains("this would fit: --size "), "{message}");
        assert!(said(&wide, 1).contains("the weights are too large"));
    }
}
