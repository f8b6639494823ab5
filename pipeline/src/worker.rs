//! Which process wrote a file, and whether it still lives.

use std::{fmt, fs, process, sync::OnceLock};

/// A process: host and pid namespace, pid, and start time, so that a reused pid is not taken for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Worker {
    host: String,
    pid: u32,
    start: u64,
}

impl Worker {
    /// This process.
    pub(crate) fn me() -> &'static Worker {
        static ME: OnceLock<Worker> = OnceLock::new();
        ME.get_or_init(|| Worker {
            host: host(),
            pid: process::id(),
            start: start_of(process::id()).unwrap_or(0),
        })
    }

    /// Reads `<host>-<pid>-<start>`.
    pub(crate) fn parse(text: &str) -> Option<Worker> {
        let mut words = text.split('-');
        let (host, pid, start) = (words.next()?, words.next()?, words.next()?);
        words.next().is_none().then_some(())?;
        Some(Worker {
            host: host.to_owned(),
            pid: pid.parse().ok()?,
            start: start.parse().ok()?,
        })
    }

    /// Whether the process is certainly gone. Of another host nothing is certain.
    pub(crate) fn is_dead(&self) -> bool {
        self.host == Worker::me().host && start_of(self.pid) != Some(self.start)
    }
}

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.host, self.pid, self.start)
    }
}

/// Eight hex digits over host name, boot and pid namespace.
fn host() -> String {
    let mut seen = fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
    seen.extend(fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default());
    seen.extend(
        fs::read_link("/proc/self/ns/pid")
            .unwrap_or_default()
            .into_os_string()
            .into_encoded_bytes(),
    );
    blake3::hash(&seen).to_hex()[..8].to_owned()
}

/// When a process started, clock ticks since boot; `None` when there is no such process or it is a zombie.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let words: Vec<&str> = after_name.split_whitespace().collect();
    (words.first() != Some(&"Z")).then_some(())?;
    words.get(19)?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_time() {
        let me = Worker::me();
        assert!(!me.is_dead());
        assert_eq!(Worker::parse(&me.to_string()).as_ref(), Some(me));
        assert!(
            Worker {
                start: me.start + 1,
                ..me.clone()
            }
            .is_dead(),
            "a reused pid is another process"
        );
        assert!(
            !Worker {
                host: "00000000".into(),
                start: 1,
                ..me.clone()
            }
            .is_dead()
        );
        assert_eq!(Worker::parse("a-b"), None);
    }
}
