//! The only place that writes to the terminal: results to stdout, everything else to stderr.
#![expect(clippy::print_stderr, reason = "this is the binary's voice")]

use anyhow::Context;
use std::io::{self, Write};

/// Writes a line of a result; a closed pipe (`omni show ... | head`) is a normal end.
pub fn line(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.context("the result could not be written to stdout"),
    }
}

/// Says something that is no result.
pub fn note(text: &str) {
    eprintln!("{text}");
}

/// The chain of an error, one line per cause, causes that repeat their parent left out.
pub fn error(error: &anyhow::Error) {
    let mut said = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let text = cause.to_string();
        if said.contains(&text) {
            continue;
        }
        eprintln!("{}{text}", if depth == 0 { "error: " } else { "  because: " });
        said.push_str(&text);
    }
}
