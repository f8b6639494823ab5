//! Runs a package client where it can be watched: in a process group of its own, by the growth of
//! what it writes, with a limit on silence.
//!
//! The clients' own progress bars differ from version to version and say nothing without a terminal;
//! bytes on disk are there in any of them.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// From the request to end to the end by force.
const GRACE: Duration = Duration::from_secs(2);

/// What to look at, and when to give up.
pub(super) struct Watch {
    /// Folders that the command writes into; its own output goes to files in the first of them.
    pub(super) folders: Vec<PathBuf>,
    /// Longest time without any growth.
    pub(super) stall: Duration,
    /// Whether the user wants to stop.
    pub(super) interrupted: Option<fn() -> bool>,
}

/// How a command ended.
pub(super) enum Ended {
    /// By itself.
    Exited {
        /// Its status.
        status: ExitStatus,
        /// What it wrote to stdout.
        stdout: String,
        /// What it wrote to stderr.
        stderr: String,
    },
    /// Ended by us: nothing grew for too long. Holds what it wrote to stderr.
    Stalled(String),
    /// Ended by us: the user wants to stop.
    Interrupted,
}

/// Runs a command to its end and reports the size of the largest file it writes, in bytes.
///
/// Whatever ends it, also a panic of `on`, ends its whole process group. Fails when it cannot start.
pub(super) fn run(command: &mut Command, watch: &Watch, on: &mut dyn FnMut(u64)) -> io::Result<Ended> {
    let folder = watch.folders.first().cloned().unwrap_or_default();
    let (out, err) = (folder.join("client.out"), folder.join("client.err"));
    let output = command.stdin(Stdio::null()).stdout(File::create(&out)?);
    let child = output.stderr(File::create(&err)?).process_group(0).spawn()?;
    let mut group = Group { child, ended: false };
    let (mut seen, mut since, mut largest) = (Growth::default(), Instant::now(), 0);
    loop {
        if let Some(status) = group.child.try_wait()? {
            group.ended = true;
            let (stdout, stderr) = (text(&out), text(&err));
            return Ok(Ended::Exited {
                status,
                stdout,
                stderr,
            });
        }
        if watch.interrupted.is_some_and(|interrupted| interrupted()) {
            return Ok(Ended::Interrupted);
        }
        let now = Growth::of(&watch.folders);
        if now != seen {
            (seen, since) = (now, Instant::now());
            largest = now.largest.max(largest);
            on(largest);
        } else if since.elapsed() >= watch.stall {
            return Ok(Ended::Stalled(text(&err)));
        }
        std::thread::sleep(LOOK);
    }
}

/// What a client wrote, its beginning only: nobody reads more.
fn text(path: &Path) -> String {
    let mut bytes = fs::read(path).unwrap_or_default();
    bytes.truncate(1 << 20);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A child and all its descendants that stayed in its group.
struct Group {
    child: Child,
    ended: bool,
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.signal("TERM");
        let asked = Instant::now();
        while asked.elapsed() < GRACE && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.signal("KILL");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Group {
    /// The standard library signals single processes only, and a call of libc would be `unsafe`.
    fn signal(&self, name: &str) {
        let group = format!("-{}", self.child.id());
        let words = ["-c", "kill -s \"$0\" -- \"$1\"", name, group.as_str()];
        let mut kill = Command::new("/bin/sh");
        let kill = kill.args(words).stdin(Stdio::null()).stdout(Stdio::null());
        let _ = kill.stderr(Stdio::null()).status();
    }
}

/// What lies in some folders: any change of it is a sign of life.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Growth {
    files: u64,
    bytes: u64,
    largest: u64,
}

impl Growth {
    fn of(folders: &[PathBuf]) -> Growth {
        let mut growth = Growth::default();
        folders.iter().for_each(|folder| growth.add(folder));
        growth
    }

    fn add(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            // Not followed through links; files come and go while we look.
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => self.add(&entry.path()),
                Ok(meta) => {
                    self.files += 1;
                    self.bytes += meta.len();
                    self.largest = self.largest.max(meta.len());
                }
                Err(_) => {}
            }
        }
    }
}
