//! Damaged variants of small clips, read in child processes: no panic, no signal, bounded time, bounded memory.
//!
//! 200 variants; `OMNI_SOAK=1` makes it 2,000. `OMNI_SEED=n` chooses others. A variant that ends its child is kept.
#![cfg(feature = "ffmpeg")]

use crate::support;
use omni_media::{Limits, Span, probe, read_audio, read_audio_16k, read_audio_file, read_frames};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use support::{ALL, ffmpeg, has_ffmpeg};

/// Names the folder that a child reads; set by the parent below and by nobody else.
const FOLDER: &str = "OMNI_MUTATIONS_FOLDER";
/// A file of this name ends the child by a signal, as a fault in a decoder would.
const FATAL: &str = "fatal.test";
const BATCH: usize = 10;
const MOST_TIME: Duration = Duration::from_secs(60);
/// 1.5 GiB, in KiB as the kernel says it.
const MOST_MEMORY: u64 = 3 << 19;

/// SplitMix64: the same variants everywhere for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        (self.roll() % n.max(1) as u64) as usize
    }
}

/// One to three kinds of damage, one after the other.
fn mutate(base: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = base.to_vec();
    for _ in 0..1 + dice.below(3) {
        damage(&mut bytes, other, dice);
    }
    bytes
}

fn damage(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let (at, len) = (dice.below(bytes.len()), 1 + dice.below(400));
    let end = (at + len).min(bytes.len());
    match dice.below(8) {
        0 => (0..1 + dice.below(30)).for_each(|_| flip(bytes, dice)),
        1 => bytes.truncate(at),
        2 => bytes[at..end].fill([0, 0xff, 0x7f][dice.below(3)]),
        3 => drop(bytes.drain(at..end)),
        4 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
        5 => {
            let from = dice.below(other.len());
            let piece = &other[from..(from + len).min(other.len())];
            drop(bytes.splice(at..end, piece.iter().copied()));
        }
        // Headers and indices lie at both ends: sizes, counts and rates become extreme there.
        6 => extreme(bytes, at % 1500, dice),
        _ => {
            let at = bytes.len().saturating_sub(1 + at % 3000);
            extreme(bytes, at, dice);
        }
    }
}

fn flip(bytes: &mut [u8], dice: &mut Dice) {
    if !bytes.is_empty() {
        let at = dice.below(bytes.len());
        bytes[at] ^= 1 << dice.below(8);
    }
}

fn extreme(bytes: &mut [u8], at: usize, dice: &mut Dice) {
    let values = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x00ff_ffff];
    let value: u32 = values[dice.below(values.len())];
    for (slot, byte) in bytes.iter_mut().skip(at).zip(value.to_be_bytes()) {
        *slot = byte;
    }
}

/// Small clips of several kinds; a kind whose encoder is missing is left out.
fn bases(folder: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let pictures = "-f lavfi -i testsrc=s=96x64:r=15:d=1";
    let tone = "-f lavfi -i sine=f=440:r=44100:d=1";
    let made = [
        (
            "mp4",
            format!("{pictures} {tone} -c:v libx264 -pix_fmt yuv420p -c:a aac"),
        ),
        ("webm", format!("{pictures} {tone} -c:v libvpx -c:a libvorbis")),
        (
            "mpg",
            format!("{pictures} {tone} -r 25 -c:v mpeg1video -c:a mp2 -f mpeg"),
        ),
        ("mkv", format!("{pictures} {tone} -c:v ffv1 -c:a flac")),
        ("avi", format!("{pictures} {tone} -c:v mpeg4 -c:a pcm_s16le")),
        ("m4a", format!("{tone} -c:a aac")),
    ];
    let base = |(kind, line): (&'static str, String)| {
        let path = folder.join(format!("base.{kind}"));
        let bytes = ffmpeg(&line, &path).then(|| std::fs::read(&path).unwrap());
        bytes.map(|bytes| (kind, bytes))
    };
    made.into_iter().filter_map(base).collect()
}

#[test]
fn damaged_clips_never_take_the_reader_down() {
    if std::env::var_os(FOLDER).is_some() || !has_ffmpeg() {
        return;
    }
    let soak = std::env::var_os("OMNI_SOAK").is_some_and(|value| value == "1");
    let variants = if soak { 2000 } else { 200 };
    let seed = std::env::var("OMNI_SEED").map_or(20_260, |text| text.parse().unwrap());
    println!("seed {seed}, {variants} variants");
    let folder = tempfile::tempdir().unwrap();
    let bases = bases(folder.path());
    assert!(!bases.is_empty(), "ffmpeg could make no clip");
    let mut dice = Dice(seed);
    let (mut peak, mut slowest, mut read) = (0, Duration::ZERO, 0);
    for batch in 0..variants / BATCH {
        let place = folder.path().join(format!("batch{batch}"));
        std::fs::create_dir(&place).unwrap();
        for n in 0..BATCH {
            let (kind, base) = &bases[(batch * BATCH + n) % bases.len()];
            let other = &bases[dice.below(bases.len())].1;
            let name = format!("seed{seed}_{batch:03}_{n}.{kind}");
            std::fs::write(place.join(name), mutate(base, other, &mut dice)).unwrap();
        }
        let outcome = run_child(&place);
        outcome.check(&place, seed);
        peak = peak.max(outcome.memory());
        slowest = slowest.max(outcome.time);
        read += outcome.log.matches("frames fine").count();
        std::fs::remove_dir_all(&place).unwrap();
    }
    // Every file is read whole and in part.
    let passes = variants * 2;
    println!(
        "largest memory {peak} KiB, slowest batch {slowest:?}, {read} of {passes} passes over pictures fine"
    );
    // Neither all destroyed nor all untouched: the damage is of a size that finds something.
    assert!(
        read > passes / 20 && read < passes * 19 / 20,
        "{read} of {passes}"
    );
}

/// How a child ended.
struct Outcome {
    status: Option<ExitStatus>,
    time: Duration,
    log: String,
}

impl Outcome {
    fn memory(&self) -> u64 {
        let line = self.log.lines().find_map(|line| line.strip_prefix("memory "));
        line.map_or(0, |text| text.parse().unwrap())
    }

    fn check(&self, place: &Path, seed: u64) {
        let fine = self.status.is_some_and(|status| status.success());
        let sane = (1..MOST_MEMORY).contains(&self.memory());
        if fine && sane && self.time < MOST_TIME {
            return;
        }
        let last = self.log.lines().rev().find_map(|line| line.strip_prefix("file "));
        let kept = last.map(|name| keep(&place.join(name)));
        panic!(
            "seed {seed}: child ended with {:?} after {:?}, {} KiB; last file {kept:?}\n{}",
            self.status,
            self.time,
            self.memory(),
            self.log
        );
    }
}

/// Copies a file to where it outlives the test.
fn keep(path: &Path) -> PathBuf {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(path.file_name().unwrap());
    std::fs::copy(path, &kept).unwrap();
    kept
}

fn run_child(place: &Path) -> Outcome {
    let begun = Instant::now();
    let log = place.join("log.txt");
    let file = std::fs::File::create(&log).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "mutations::child_reads_its_folder", "--nocapture"])
        .env(FOLDER, place)
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    let status = wait(child, begun);
    Outcome {
        status,
        time: begun.elapsed(),
        log: std::fs::read_to_string(log).unwrap(),
    }
}

/// None: ended by us because the time was over.
fn wait(mut child: Child, begun: Instant) -> Option<ExitStatus> {
    while begun.elapsed() < MOST_TIME {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

#[test]
fn a_child_that_dies_is_noticed_and_its_file_kept() {
    if std::env::var_os(FOLDER).is_some() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FATAL), b"x").unwrap();
    let outcome = run_child(folder.path());
    assert!(outcome.status.is_some_and(|status| status.code().is_none()));
    let said = std::panic::catch_unwind(|| outcome.check(folder.path(), 5)).unwrap_err();
    let said = said.downcast_ref::<String>().unwrap();
    assert!(said.starts_with("seed 5") && said.contains(FATAL), "{said}");
    std::fs::remove_file(Path::new(env!("CARGO_TARGET_TMPDIR")).join(FATAL)).unwrap();
}

/// Reads every file of the folder in all ways. Does nothing when it is not run by the test above.
#[test]
fn child_reads_its_folder() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.retain(|path| path.file_name().unwrap() != "log.txt");
    files.sort();
    for path in files {
        println!("file {}", path.file_name().unwrap().to_str().unwrap());
        if path.ends_with(FATAL) {
            std::process::abort();
        }
        read_all(&path);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!(
        "memory {}",
        peak.map_or("1", |text| text.trim().trim_end_matches(" kB"))
    );
}

fn read_all(path: &Path) {
    let limits = Limits {
        max_pixels: 1 << 20,
        max_seconds: 60.0,
        stall: Duration::from_secs(5),
    };
    let part = Span {
        start: Some(0.3),
        end: Some(0.7),
    };
    for span in [ALL, part] {
        let info = probe(path, &span, &limits);
        println!("probe {}", word(&info));
        if let Some(video) = info.as_ref().ok().and_then(|info| info.video.as_ref()) {
            assert!(video.seconds.is_finite() && video.fps_num > 0 && video.fps_den > 0);
        }
        let mut last = -1.0;
        let frames = read_frames(path, &span, &limits, &mut |frame| {
            assert_eq!(frame.image.data.len(), frame.image.width * frame.image.height * 3);
            assert!(frame.seconds >= last, "{} after {last}", frame.seconds);
            last = frame.seconds;
            ControlFlow::Continue(())
        });
        println!("frames {}", word(&frames));
        println!("speech {}", word(&read_audio_16k(path, &span, &limits)));
        println!("sound {}", word(&read_audio(path, &span, &limits)));
    }
    println!("direct {}", word(&read_audio_file(path)));
}

fn word<T>(result: &Result<T, omni_media::Error>) -> &'static str {
    result.as_ref().map_or_else(|error| error.reason(), |_| "fine")
}
