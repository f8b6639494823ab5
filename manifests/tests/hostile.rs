//! Parts whose author can hash: every claim of a size may be a lie although the check holds. One test, in a process of
//! its own, because it looks at the peak memory of the process and counts what the panic hook would print.

use omni_manifests::{
    Error, Receipt, TableScan, for_each_row, for_each_row_where, hush_readers, read_part, verify_part,
    write_part,
};
use omni_schemas::{Track, TrackFrame};
use std::{
    fs,
    ops::ControlFlow,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

const MUTATIONS: usize = 500;
/// MiB.
const MEMORY: u64 = 1024;
static PRINTED: AtomicUsize = AtomicUsize::new(0);

/// xorshift64*: a fixed stream from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }
}

fn part(path: &Path) {
    let track = |i: i64| Track {
        clip: format!("clip {}", i / 3),
        track: i % 3,
        subject: 1,
        shot: 0,
        frames: (0..i % 7)
            .map(|frame| TrackFrame {
                frame,
                bbox: [0.5; 4],
                score: i as f64,
                points: [frame as f64; 10],
                mouth_motion: (frame > 0).then_some(1.0),
                upper_motion: None,
            })
            .collect(),
        vector: vec![i as f64; 8],
        embedder: "sface#1".into(),
    };
    let tracks: Vec<Track> = (0..300).map(track).collect();
    write_part(path, &tracks, &Receipt::default()).unwrap();
}

/// The footer's first byte.
fn footer(bytes: &[u8]) -> usize {
    let end = bytes.len() - 8;
    let length = u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap()) as usize;
    end - length
}

/// Changes a few bytes, or puts a huge number in the place of a small one.
fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let start = footer(bytes);
    for _ in 0..=dice.roll(3) {
        let end = bytes.len() - 8;
        match dice.roll(4) {
            0 => {
                let at = dice.roll(start);
                bytes[at] = dice.roll(256) as u8;
            }
            1 => {
                let at = start + dice.roll(end - start);
                bytes[at] ^= 1 << dice.roll(8);
            }
            2 => {
                let at = end + dice.roll(2);
                bytes[at] ^= 1 << dice.roll(8);
            }
            _ => {
                let at = start + dice.roll((end - start).min(6000) - 12);
                let huge = vec![0xfe; 1 + dice.roll(9)];
                let grown = huge.len() as u32;
                bytes.splice(at..=at, huge.into_iter().chain([0x0f]));
                let end = bytes.len() - 8;
                let length = u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap());
                bytes[end..end + 4].copy_from_slice(&length.wrapping_add(grown).to_le_bytes());
            }
        }
    }
}

/// Hashes the part anew, as its reader will.
fn seal(bytes: &mut [u8]) {
    let marker = b"\x18\x0aomni.check\x18\x40";
    let Some(at) = bytes.windows(marker.len()).rposition(|window| window == marker) else {
        return;
    };
    let digits = at + marker.len()..at + marker.len() + 64;
    bytes[digits.clone()].fill(b'0');
    let check = blake3::hash(bytes).to_hex();
    bytes[digits].copy_from_slice(check.as_bytes());
}

/// Peak resident memory of this process, MiB; 0 where the system does not tell.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}

#[test]
fn a_part_that_lies_ends_in_a_named_error() {
    std::panic::set_hook(Box::new(|panic| {
        PRINTED.fetch_add(1, Ordering::Relaxed);
        let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{panic}\n").as_bytes());
    }));
    hush_readers();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    part(&path);
    let honest = fs::read(&path).unwrap();
    let seed = 20_250_611;
    let mut dice = Dice(seed);
    let (mut sealed, mut refused) = (0, 0);
    let mut reasons = std::collections::BTreeMap::<String, usize>::new();
    for number in 0..MUTATIONS {
        let mut bytes = honest.clone();
        mutate(&mut bytes, &mut dice);
        seal(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        sealed += usize::from(verify_part(&path).is_ok());
        match read_part::<Track>(&path) {
            Ok(_) => {}
            Err(Error::Damaged { what, .. } | Error::Table { what, .. }) => {
                refused += 1;
                *reasons.entry(what).or_default() += 1;
            }
            Err(Error::WrongRecord { .. }) => refused += 1,
            Err(other) => panic!("seed {seed}, mutation {number}: {other:?}"),
        }
        let _ = for_each_row(&path, &mut |_| ControlFlow::Continue(()));
        let _ = for_each_row_where(&path, "clip", &|_| true, &mut |_| ControlFlow::Continue(()));
        let _ = TableScan::open(&path);
        assert_eq!(
            PRINTED.load(Ordering::Relaxed),
            0,
            "seed {seed}, mutation {number}: a panic was printed"
        );
        assert!(peak() < MEMORY, "seed {seed}, mutation {number}: {} MiB", peak());
    }
    println!(
        "seed {seed}: {sealed} of {MUTATIONS} with a check that holds, {refused} refused, peak {} MiB",
        peak()
    );
    println!("{reasons:#?}");
    assert!(
        sealed > MUTATIONS / 2 && refused > MUTATIONS / 4,
        "{sealed} {refused}"
    );
    // all other panics are still told
    let told = std::panic::catch_unwind(|| panic!("a bug"));
    assert!(told.is_err() && PRINTED.load(Ordering::Relaxed) == 1);
}
