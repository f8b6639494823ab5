//! What the tests of whole files share: the golden folder, the `ffmpeg` command, counting readers.

use omni_media::{Error, Image, Limits, Span, read_frames};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A file below `$OMNI_SHARED` (or `../shared` beside the workspace); none, with a printed line, when it is not there.
pub fn shared(path: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let root = std::env::var_os("OMNI_SHARED").map_or_else(beside, PathBuf::from);
    let file = root.join(path);
    if file.exists() {
        return Some(file);
    }
    println!("skipped: {} is not there", file.display());
    None
}

/// Whether the `ffmpeg` command is there; prints a line when not.
pub fn has_ffmpeg() -> bool {
    let mut command = Command::new("ffmpeg");
    let found = command
        .arg("-version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        println!("skipped: the ffmpeg command is not installed");
    }
    found
}

/// Runs `ffmpeg` with the words of `line`, then the output file; whether it succeeded.
pub fn ffmpeg(line: &str, to: &Path) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    ffmpeg_words(&words, to)
}

/// As [`ffmpeg`], with words that hold blanks.
pub fn ffmpeg_words(words: &[&str], to: &Path) -> bool {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-y", "-v", "error"])
        .args(words)
        .arg(to);
    command.stdin(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// The times and the pictures' sizes of all frames, and the first picture.
#[derive(Default)]
pub struct Seen {
    pub times: Vec<f64>,
    pub sizes: Vec<(usize, usize)>,
    pub first: Image,
}

/// Reads all frames of a span.
pub fn frames(path: &Path, span: &Span) -> Result<Seen, Error> {
    let mut seen = Seen::default();
    let count = read_frames(path, span, &Limits::default(), &mut |frame| {
        assert_eq!(frame.index as usize, seen.times.len());
        assert_eq!(frame.image.data.len(), frame.image.width * frame.image.height * 3);
        if seen.times.is_empty() {
            seen.first = frame.image.clone();
        }
        seen.times.push(frame.seconds);
        seen.sizes.push((frame.image.width, frame.image.height));
        ControlFlow::Continue(())
    })?;
    assert_eq!(count as usize, seen.times.len());
    Ok(seen)
}

/// The whole file.
pub const ALL: Span = Span {
    start: None,
    end: None,
};

/// Red, green and blue at a place.
pub fn pixel(image: &Image, x: usize, y: usize) -> [u8; 3] {
    let at = (y * image.width + x) * 3;
    [image.data[at], image.data[at + 1], image.data[at + 2]]
}

/// Whether all three channels are within `slack` levels.
pub fn near(a: [u8; 3], b: [u8; 3], slack: u8) -> bool {
    a.iter().zip(b).all(|(x, y)| x.abs_diff(y) <= slack)
}
