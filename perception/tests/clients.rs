//! Package clients that are slow, hang, fail or are interrupted; shell scripts stand in for them.

use crate::bench;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bench::{Bench, CONTENT, NPM, PIP, entry, tarball, wheel};
use omni_perception::registry::{PullError, PullEvent};

fn alive(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie that nobody has collected yet is dead.
    !status.is_empty() && !status.contains(") Z ")
}

/// Waits for `path` to name a process, then for that process to end.
fn ended(path: &Path) -> bool {
    let pid = fs::read_to_string(path).unwrap();
    (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        !alive(pid.trim())
    })
}

/// A client that starts a child of its own and does nothing, ignoring polite requests.
fn hang(bench: &Bench, name: &str) {
    let dir = bench.dir.path().display();
    bench.script(
        name,
        &format!("trap '' TERM\nsleep 1000 &\necho $! > '{dir}/grandchild'\necho 'Looking for links' >&2\nwait\nsleep 1000\n"),
    );
}

#[test]
fn a_client_that_hangs_is_ended_with_its_children_and_named() {
    let mut bench = Bench::new();
    bench.options.stall = Duration::from_secs(1);
    hang(&bench, "fakepip");
    let begun = Instant::now();
    let error = bench
        .pull(&entry("a", PIP, "pkg/a", CONTENT, false), &["a"])
        .unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(
        matches!(error, PullError::ToolStalled { seconds: 1, .. }),
        "{error}"
    );
    for part in [
        "fakepip download",
        "Looking for links",
        "pull a --from DIR",
        "`pkg-1.0-*.whl`",
    ] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    assert!(
        ended(&bench.dir.path().join("grandchild")),
        "the client's child lives on"
    );
    assert!(bench.files("a").is_empty());
    assert!(!bench.store.root().join(".pull").exists());
}

static STOP: AtomicBool = AtomicBool::new(false);

#[test]
fn an_interruption_ends_the_client_and_leaves_nothing() {
    let mut bench = Bench::new();
    hang(&bench, "fakepip");
    bench.options.net.interrupted = Some(|| STOP.load(Ordering::SeqCst));
    let mark = bench.dir.path().join("grandchild");
    let waiting = mark.clone();
    let stopper = std::thread::spawn(move || {
        while fs::read_to_string(&waiting).unwrap_or_default().is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        STOP.store(true, Ordering::SeqCst);
    });
    let error = bench
        .pull(&entry("a", PIP, "pkg/a", CONTENT, false), &["a"])
        .unwrap_err();
    stopper.join().unwrap();
    assert!(matches!(error, PullError::Stopped), "{error}");
    assert!(ended(&mark), "the client's child lives on");
    assert!(bench.files("a").is_empty());
    assert!(!bench.store.root().join(".pull").exists());
}

#[test]
fn a_slow_client_shows_its_growth_and_is_not_ended() {
    let mut bench = Bench::new();
    bench.options.stall = Duration::from_millis(1500);
    wheel(&bench.dir.path().join("pkg-1.0.whl"), &[("pkg/a", CONTENT)]);
    let dir = bench.dir.path().display().to_string();
    // Two and a half times the limit in all, never silent for as long as the limit.
    bench.script(
        "fakepip",
        &format!(
            "for i in 1 2 3 4 5 6 7; do head -c 1000 /dev/zero >> \"$TMPDIR/wheel\"; sleep 0.5; done\n\
             for a in \"$@\"; do [ -d \"$a\" ] && cp '{dir}/pkg-1.0.whl' \"$a/\"; done\nexit 0\n"
        ),
    );
    let source = format!("{PIP}, bytes = 6000");
    let events = bench
        .pull(&entry("a", &source, "pkg/a", CONTENT, false), &["a"])
        .unwrap();
    assert!(
        events.contains(&PullEvent::Total {
            downloads: 1,
            bytes: Some(6000)
        }),
        "{events:?}"
    );
    let seen: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            PullEvent::Progress {
                done, total, file, ..
            } => {
                assert_eq!((*total, file.as_str()), (Some(6000), "pip pkg==1.0"));
                Some(*done)
            }
            _ => None,
        })
        .collect();
    assert!(seen.is_sorted() && seen.last() == Some(&6000), "{seen:?}");
    assert!(seen.contains(&2000) && seen.contains(&5000), "{seen:?}");
}

#[test]
fn npm_is_watched_in_its_own_cache() {
    let mut bench = Bench::new();
    bench.options.stall = Duration::from_millis(1500);
    let dir = bench.dir.path().display().to_string();
    tarball(
        &bench.dir.path().join("pkg-1.0.tgz"),
        &[("package/a", CONTENT, tar::EntryType::Regular)],
    );
    fs::create_dir_all(bench.dir.path().join("npm cache/_cacache/tmp")).unwrap();
    bench.script(
        "fakenpm",
        &format!(
            "if [ \"$1\" = config ]; then echo '{dir}/npm cache'; exit 0; fi\n\
             for i in 1 2 3 4 5; do head -c 1000 /dev/zero >> '{dir}/npm cache/_cacache/tmp/x'; sleep 0.5; done\n\
             for a in \"$@\"; do [ -d \"$a\" ] && cp '{dir}/pkg-1.0.tgz' \"$a/\"; done\nexit 0\n"
        ),
    );
    let events = bench
        .pull(&entry("a", NPM, "package/a", CONTENT, false), &["a"])
        .unwrap();
    assert!(
        events.iter().any(|event| matches!(
            event,
            PullEvent::Progress {
                done: 3000,
                total: None,
                ..
            }
        )),
        "{events:?}"
    );
}

#[test]
fn a_store_with_spaces_and_other_letters_and_a_relative_one_work() {
    for relative in [false, true] {
        let mut bench = Bench::new();
        wheel(&bench.dir.path().join("pkg-1.0.whl"), &[("pkg/a", CONTENT)]);
        bench.client("fakepip", "pkg-1.0.whl");
        let name = "Mein Modellspeicher für größere Netze";
        bench.move_store(&if relative {
            let up = "../".repeat(std::env::current_dir().unwrap().components().count());
            format!("{up}{}/{name}", bench.dir.path().display())
        } else {
            format!("{}/{name}", bench.dir.path().display())
        });
        bench
            .pull(&entry("a", PIP, "pkg/a", CONTENT, false), &["a"])
            .unwrap();
        assert_eq!(fs::read(bench.placed("a")).unwrap(), CONTENT);
    }
}

#[test]
fn two_pulls_at_once_fetch_once() {
    let bench = Bench::new();
    wheel(&bench.dir.path().join("pkg-1.0.whl"), &[("pkg/a", CONTENT)]);
    let dir = bench.dir.path().display().to_string();
    bench.script(
        "fakepip",
        &format!(
            "echo x >> '{dir}/calls'\nsleep 1\nfor a in \"$@\"; do [ -d \"$a\" ] && cp '{dir}/pkg-1.0.whl' \"$a/\"; done\nexit 0\n"
        ),
    );
    let list = entry("a", PIP, "pkg/a", CONTENT, false);
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| bench.pull(&list, &["a"]).unwrap()));
        let events = both.map(|pull| pull.join().unwrap());
        assert!(events.iter().any(|events| events.contains(&PullEvent::Waiting)));
    });
    assert_eq!(bench.calls().len(), 1);
    assert_eq!(bench.files("a"), ["a.onnx", "verified.json"]);
}

#[test]
fn a_store_that_cannot_be_written_is_named_before_anything_is_fetched() {
    let mut bench = Bench::new();
    bench.client("fakepip", "pkg-1.0.whl");
    let file = bench.dir.path().join("a file");
    fs::write(&file, b"").unwrap();
    bench.move_store(&file.join("store").display().to_string());
    let error = bench
        .pull(&entry("a", PIP, "pkg/a", CONTENT, false), &["a"])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("a file/store") && error.contains("OMNI_CACHE"),
        "{error}"
    );
    assert!(bench.calls().is_empty());
}
