//! The only place that writes to the terminal: results to stdout, everything else to stderr.

use anyhow::Context;
use std::{
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether there is work to do that a reader who has gone away does not end.
static WORKING: AtomicBool = AtomicBool::new(false);

/// From here on a closed pipe is no end: what is printed is said beside the work.
pub fn work_on() {
    WORKING.store(true, Ordering::Relaxed);
}

/// Writes a line of a result; a closed pipe (`omni show ... | head`) is a normal end.
pub fn line(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => match WORKING.load(Ordering::Relaxed) {
            true => Ok(()),
            false => std::process::exit(0),
        },
        other => other.context("the result could not be written to stdout"),
    }
}

/// Says something that is no result. What nobody can hear (a full disk, a terminal that is gone) is no reason to end.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// The chain of an error, one line per cause, causes that repeat their parent left out.
pub fn error(error: &anyhow::Error) {
    let mut said = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let text = cause.to_string();
        if said.contains(&text) {
            continue;
        }
        note(&format!(
            "{}{text}",
            if depth == 0 { "error: " } else { "  because: " }
        ));
        said.push_str(&text);
    }
}
