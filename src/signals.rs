//! Ctrl-C, broken pipes, and the mark a crash leaves.
//!
//! A C decoder can take the process down. The next run must tell that from a plain kill, so a handler for the crash
//! signals writes one line to a file opened in advance (only `write` and `_exit`-safe calls happen there), then lets
//! the default action follow.
#![expect(unsafe_code, reason = "signal handlers have no safe interface in std")]

use omni_pipeline::Cancel;
use std::{
    fs::File,
    os::fd::AsRawFd,
    sync::{
        OnceLock,
        atomic::{AtomicI32, Ordering},
    },
};

static CANCEL: OnceLock<Cancel> = OnceLock::new();
static MARKER: AtomicI32 = AtomicI32::new(-1);
static INTERRUPTS: AtomicI32 = AtomicI32::new(0);

const CRASHES: [i32; 5] = [
    libc::SIGSEGV,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
];

/// Rust ignores SIGPIPE; we keep that (writes then fail with `BrokenPipe`, which `output` treats as a normal end).
pub fn quiet_broken_pipe() {
    // SAFETY: setting the disposition of SIGPIPE to "ignore" touches no memory.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// The first SIGINT, SIGTERM or SIGHUP (a terminal that is closed) asks the run to stop; a second one ends the process at once.
pub fn on_interrupt(cancel: &Cancel) {
    let _ = CANCEL.set(cancel.clone());
    let handler = interrupted as *const () as libc::sighandler_t;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: `interrupted` only touches atomics and calls `write` and `_exit`, all allowed in a signal handler.
        let before = unsafe { libc::signal(signal, handler) };
        if signal == libc::SIGHUP && before == libc::SIG_IGN {
            // `nohup` asks for a life beyond the terminal
            // SAFETY: setting the disposition to "ignore" touches no memory.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }
}

/// Ends the process at once, whatever its threads are doing: none of the handlers run that a normal exit waits for.
pub fn leave(code: u8) -> ! {
    // SAFETY: `_exit` takes a number and does not return; nothing published is ever half-written.
    unsafe { libc::_exit(i32::from(code)) }
}

/// Whether one of them came.
pub fn was_interrupted() -> bool {
    INTERRUPTS.load(Ordering::SeqCst) > 0
}

extern "C" fn interrupted(_signal: i32) {
    if INTERRUPTS.fetch_add(1, Ordering::SeqCst) > 0 {
        // SAFETY: `_exit` is async-signal-safe; nothing published is ever half-written, so leaving at once is sound.
        unsafe { libc::_exit(130) };
    }
    if let Some(cancel) = CANCEL.get() {
        cancel.cancel();
    }
    let line = b"\nstopping: what is in flight ends first; once more ends at once\n";
    // SAFETY: `write` is async-signal-safe; a line that cannot be written is lost.
    unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
}

/// Lets a crash leave its mark in `marker`, which the caller keeps open while the run lasts.
pub fn mark_crashes(marker: &File) {
    MARKER.store(marker.as_raw_fd(), Ordering::SeqCst);
    for signal in CRASHES {
        // SAFETY: an all-zero sigaction is valid; the handler only writes to an open descriptor. SA_RESETHAND makes
        // the default action follow when the faulting instruction runs again or the signal is raised again.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = crashed as *const () as usize;
            action.sa_flags = libc::SA_RESETHAND | libc::SA_ONSTACK;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

extern "C" fn crashed(signal: i32) {
    let line = b"crash\n";
    // SAFETY: `write` and `raise` are async-signal-safe, and the descriptor stays open for the life of the process.
    unsafe {
        libc::write(MARKER.load(Ordering::SeqCst), line.as_ptr().cast(), line.len());
        libc::raise(signal);
    }
}

/// Whether stderr is a terminal (bars) or not (plain lines).
pub fn stderr_is_terminal() -> bool {
    // SAFETY: `isatty` only looks at the descriptor.
    unsafe { libc::isatty(std::io::stderr().as_raw_fd()) == 1 }
}

/// Columns of the terminal that stdout is; `None` when it is none (a pipe, a file).
pub fn stdout_columns() -> Option<usize> {
    // SAFETY: an all-zero winsize is valid, and the call only writes into it.
    let size = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size) == 0).then_some(size)
    };
    size.map(|size| usize::from(size.ws_col))
        .filter(|&columns| columns > 0)
}
