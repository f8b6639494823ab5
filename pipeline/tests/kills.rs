//! Real SIGKILLs to a real process, and crashes that the journal remembers.

use crate::toy;
use omni_pipeline::*;
use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};
use toy::*;

const KILLS: usize = 20;
const OUT: &str = "OMNI_TOY_OUT";

fn wish() -> Wish {
    Wish {
        sleep: Duration::from_millis(2),
        ..Wish::default()
    }
}

/// Not a test: the process that `kills_leave_no_half_part` starts and kills.
#[test]
#[ignore = "run by the test below in a process of its own"]
fn child() {
    if let Some(out) = std::env::var_os(OUT) {
        let marker = CrashMarker::create(Path::new(&out)).unwrap();
        go(&plan(0..200, &wish()), &options(Path::new(&out)));
        drop(marker);
    }
}

fn start(out: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["kills::child", "--exact", "--ignored"])
        .env(OUT, out)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn kills_leave_no_half_part() {
    let (killed, alone) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let began = SystemTime::now();
    assert!(start(alone.path()).wait().unwrap().success());
    let whole = began.elapsed().unwrap();
    let mut seed = began.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    println!("seed {seed}, an undisturbed run takes {whole:?}");
    let mut landed = 0;
    for _ in 0..KILLS {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let mut child = start(killed.path());
        std::thread::sleep(whole.mul_f64((seed % 1000) as f64 / 4000.0));
        landed += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    println!("{landed} of {KILLS} kills hit a running process");
    assert!(landed >= KILLS / 4);
    assert!(start(killed.path()).wait().unwrap().success());
    assert_same(killed.path(), alone.path());
    let log = std::fs::read_dir(killed.path().join("log")).unwrap();
    let names: Vec<_> = log
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let left = names.iter().filter(|name| {
        name.starts_with("inflight") || name.starts_with("crash") || name.starts_with("scratch")
    });
    assert_eq!(left.count(), 0, "{names:?}");
}

#[test]
fn two_processes_on_one_folder_give_the_files_of_one() {
    let (both, alone) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut pair = [start(both.path()), start(both.path())];
    pair.iter_mut()
        .for_each(|child| assert!(child.wait().unwrap().success()));
    assert!(start(alone.path()).wait().unwrap().success());
    assert_same(both.path(), alone.path());
}

/// Leaves what a process that crashed while drawing these clips would leave.
fn crash(out: &Path, dir: &str, keys: &[&str]) {
    let log = out.join("log");
    std::fs::create_dir_all(&log).unwrap();
    let marker = CrashMarker::create(out).unwrap();
    let names = std::fs::read_dir(&log)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap());
    let me = names
        .into_iter()
        .find_map(|name| Some(name.strip_prefix("crash-")?.to_owned()))
        .unwrap();
    drop(marker);
    let dead = format!("{}-1", me.rsplit_once('-').unwrap().0);
    let lines: String = keys
        .iter()
        .map(|key| format!("[\"begin\",\"{dir}\",\"{key}\"]\n"))
        .collect();
    std::fs::write(log.join(format!("inflight-{dead}.log")), lines).unwrap();
    std::fs::write(log.join(format!("crash-{dead}")), b"x").unwrap();
}

#[test]
fn a_clip_in_flight_in_two_crashes_is_dropped() {
    let out = tempfile::tempdir().unwrap();
    let (plan, options) = (plan(1..40, &Wish::default()), options(out.path()));
    let dir = plan.steps()[1].dir.clone();
    assert!(dir.starts_with("draw-"));
    crash(out.path(), &dir, &["clip-3", "clip-5"]);
    crash(out.path(), &dir, &["clip-3", "clip-5"]); // the same name: one crash
    let heard = Heard::default();
    let cancel = Cancel::new();
    cancel.cancel();
    run(&plan, &options, &cancel, &heard).unwrap(); // settles, runs nothing
    crash(out.path(), &dir, &["clip-3"]);
    let heard = Heard::default();
    let summary = run(&plan, &options, &Cancel::new(), &heard).unwrap();
    assert_eq!(summary.dropped["crashes_decoder"], 1);
    assert_eq!(summary.outcome, Outcome::Complete);
    let suspects: Vec<_> = heard
        .0
        .lock()
        .unwrap()
        .iter()
        .filter_map(|event| match event {
            Event::Suspect { key, crashes, .. } => Some((key.clone(), *crashes)),
            _ => None,
        })
        .collect();
    assert_eq!(suspects.len(), 2);
    assert!(suspects.contains(&("clip-3".into(), 2)) && suspects.contains(&("clip-5".into(), 1)));
    let views = readers::Run::open(out.path()).unwrap().explain("clip-3").unwrap();
    assert_eq!(views[2].drop.as_deref(), Some("crashes_decoder"));
}

/// Ends the process when a clip is stuck, as the binary does.
struct Leave;
impl Progress for Leave {
    fn on(&self, event: &Event) {
        if let Event::ClipStuck { key, unnoted, .. } = event {
            assert_eq!((key.as_str(), unnoted), ("clip-40", &None));
            std::process::exit(4);
        }
    }
}

/// Not a test: a process in which the stage `measure` never comes back from one clip.
#[test]
#[ignore = "run by the test below in a process of its own"]
fn hanging_child() {
    let Some(out) = std::env::var_os(OUT) else { return };
    let hold = Hold::new(|stage, key| {
        let hangs = (stage, key) == ("measure", "clip-40");
        while hangs && !std::thread::panicking() {
            std::thread::sleep(Duration::from_secs(1));
        }
        true
    });
    let wish = Wish {
        hold: Some(hold),
        ..Wish::default()
    };
    let options = RunOptions {
        stuck_after: Some(Duration::from_millis(1500)),
        ..options(Path::new(&out))
    };
    run(&plan(1..120, &wish), &options, &Cancel::new(), &Leave).unwrap();
}

#[test]
fn a_clip_that_hangs_twice_is_dropped_and_nothing_else_is() {
    let out = tempfile::tempdir().unwrap();
    let hang = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let command = command.args(["kills::hanging_child", "--exact", "--ignored"]);
        command
            .env(OUT, out.path())
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .code()
    };
    assert_eq!((hang(), hang()), (Some(4), Some(4)));
    assert_eq!(hang(), Some(0), "the third run goes on without the clip");
    let told: Summary =
        serde_json::from_slice(&std::fs::read(out.path().join("summary.json")).unwrap()).unwrap();
    assert!(told.outcome == Outcome::Complete && adds_up(&told));
    assert_eq!(told.dropped["stuck"], 1);
    assert!(!told.dropped.contains_key("crashes_decoder"), "{told:?}");
    let views = readers::Run::open(out.path())
        .unwrap()
        .explain("clip-40")
        .unwrap();
    assert_eq!(views[1].drop.as_deref(), Some("stuck"));
    let log = std::fs::read_dir(out.path().join("log")).unwrap();
    let names: Vec<_> = log
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let left = names.iter().filter(|name| {
        ["inflight", "settled", "scratch"]
            .iter()
            .any(|word| name.starts_with(word))
    });
    assert_eq!(left.count(), 0, "{names:?}");
}
