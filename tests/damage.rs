//! Damage to a finished output, interrupts, crashes, and disks that are full or read-only.
//!
//! Every damaged output is repaired by the next run, which redoes what is needed and nothing else; the result is byte
//! for byte that of an undisturbed run.

use crate::{common, kit};
use common::{Scratch, code, stderr, stdout};
use kit::{Group, Signals};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Items of the sample corpus that are kept; the last two are of two people.
const CLIPS: [&str; 3] = ["woman_path", "man_near_mirrored", "woman_then_man"];

const CURATE: [&str; 7] = [
    "--source",
    "folder",
    "--root",
    "clips",
    "--set",
    "run.shard_clips=2",
    "--out",
];

/// Three clips and the output of one undisturbed run, made once a process.
fn base() -> Option<&'static Scratch> {
    static BASE: OnceLock<Option<Scratch>> = OnceLock::new();
    let make = || {
        let sample = kit::sample()?;
        let scratch = Scratch::new();
        let expected = kit::json(&sample.join("expected.json"));
        let items = expected["clips"].as_array().unwrap();
        fs::create_dir(scratch.join("clips")).unwrap();
        for name in CLIPS {
            let id = items.iter().find(|item| item["name"] == name).unwrap()["clip"]
                .as_str()
                .unwrap();
            let from = sample.join(format!("part_001/{}/{}/{id}.mp4", &id[..2], &id[2..4]));
            fs::copy(from, scratch.join(&format!("clips/{name}.mp4"))).unwrap();
        }
        curate(&scratch, "out");
        assert_eq!(kit::numbers(&scratch.join("out"))["kept"], 3);
        Some(scratch)
    };
    BASE.get_or_init(make).as_ref()
}

/// A run that must end well; what it said on stderr.
fn curate(scratch: &Scratch, out: &str) -> String {
    kit::curate(scratch, &[&CURATE[..], &[out]].concat()).1
}

fn command(scratch: &Scratch, out: &str) -> Command {
    scratch.command(&[&["curate"], &CURATE[..], &[out]].concat())
}

fn assert_whole(scratch: &Scratch, out: &str) {
    kit::assert_same(&scratch.join(out), &scratch.join("out"));
    assert_eq!(
        kit::numbers(&scratch.join(out)),
        kit::numbers(&scratch.join("out")),
        "{out}"
    );
    assert_eq!(kit::leftovers(&scratch.join(out)), Vec::<PathBuf>::new(), "{out}");
}

/// The largest file of a stage.
fn file_of(out: &Path, stage: &str, kind: &str) -> PathBuf {
    let dir = kit::stages(out)
        .into_iter()
        .find(|(name, _)| name == stage)
        .unwrap()
        .1;
    let files = kit::walk(&dir)
        .into_iter()
        .filter(|path| path.extension().unwrap() == kind);
    files
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap()
}

fn flip(path: &Path, place: usize) {
    let mut bytes = fs::read(path).unwrap();
    let place = place % bytes.len();
    bytes[place] ^= 1 << (place % 8);
    fs::write(path, bytes).unwrap();
}

/// Damages a finished output, runs again, and checks that exactly the files of these stages were made again.
fn repaired(out: &str, stages: &[&str], words: &str, damage: impl FnOnce(&Path)) {
    let Some(scratch) = base() else { return };
    let folder = scratch.join(out);
    if !folder.exists() {
        kit::copy(&scratch.join("out"), &folder);
    }
    let before = kit::stamps(&folder);
    damage(&folder);
    let said = curate(scratch, out);
    assert!(said.contains(words), "{words}: {said}");
    assert_whole(scratch, out);
    let after = kit::stamps(&folder);
    let redone: BTreeSet<&str> = after
        .iter()
        .filter(|(name, stamp)| before.get(*name) != Some(stamp))
        .map(|(name, _)| name.split('-').next().unwrap())
        .collect();
    assert_eq!(redone.into_iter().collect::<Vec<_>>(), stages, "{said}");
}

#[test]
fn damage_is_noticed_and_only_what_is_needed_is_redone() {
    repaired("hurt", &["face_ref"], "repairing", |out| {
        flip(&file_of(out, "face_ref", "parquet"), 777)
    });
    repaired("hurt", &["bind"], "repairing", |out| {
        let path = file_of(out, "bind", "parquet");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    });
    repaired("hurt", &["compose"], "repairing", |out| {
        fs::write(file_of(out, "compose", "parquet"), "").unwrap();
    });
    repaired("hurt", &["voice_ref"], "repairing", |out| {
        fs::remove_file(file_of(out, "voice_ref", "tar")).unwrap();
    });
    repaired("hurt", &["face_ref"], "repairing", |out| {
        flip(&file_of(out, "face_ref", "tar"), 1000)
    });
    repaired("hurt", &[], "", stray);
    repaired("hurt", &["probe"], "", |out| {
        fs::remove_file(file_of(out, "probe", "parquet")).unwrap()
    });
    repaired("hurt", &[], "", |out| {
        fs::remove_file(out.join("run.json")).unwrap()
    });
    repaired("hurt", &[], "", |out| {
        fs::write(out.join("summary.json"), "{").unwrap()
    });
    repaired("hurt", &[], "repairing", |out| {
        let listing = kit::json(&out.join("run.json"))["listing"]
            .as_str()
            .unwrap()
            .to_owned();
        flip(&out.join(listing).join("listing.parquet"), 300);
    });
    if let Some(scratch) = base() {
        let shown = scratch.omni(&["show", "hurt", "omni_caption", "--json"]);
        assert_eq!(stdout(&shown).lines().count(), 3, "{}", stderr(&shown));
    }
}

/// The first temporary file of a part that a run makes, by name; the run is then killed.
fn temporary_of_a_run(scratch: &Scratch) -> String {
    let mut group = Group::spawn(command(scratch, "brief"), &scratch.join("brief.txt"));
    let out = scratch.join("brief");
    let mut name = None;
    let over = group.until(|| {
        let mut left = kit::leftovers(&out)
            .into_iter()
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
        name = left.find(|name| name.starts_with(".part-"));
        name.is_some()
    });
    assert!(over.is_none(), "no temporary file was seen: {}", group.said());
    name.unwrap()
}

/// What a process that is gone left: a real run's temporary name, with the number of a process that has ended.
fn stray(out: &Path) {
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let name = temporary_of_a_run(base().unwrap());
    let words: Vec<&str> = name.split('-').collect();
    let [start @ .., _pid, end] = words.as_slice() else {
        panic!("{name}")
    };
    let name = format!("{}-{}-{end}", start.join("-"), gone.id());
    let left = file_of(out, "track", "parquet").with_file_name(name);
    fs::write(&left, "half a part").unwrap();
    assert_eq!(kit::leftovers(out), [left]);
}

/// Clips that the journal of a process names as begun and not ended in a stage.
fn in_flight(out: &Path, stage: &str) -> BTreeSet<String> {
    let mut flying = BTreeSet::new();
    for path in kit::walk(&out.join("log")) {
        if !path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("inflight-")
        {
            continue;
        }
        for line in fs::read_to_string(&path).unwrap_or_default().lines() {
            let Ok([word, step, clip]) = serde_json::from_str::<[String; 3]>(line) else {
                continue;
            };
            // Several stages may have the same clip in flight.
            if !step.starts_with(&format!("{stage}-")) {
                continue;
            }
            if word == "end" {
                flying.remove(&clip);
            } else {
                flying.insert(clip);
            }
        }
    }
    flying
}

/// Runs into `out` until `track` has a clip in flight, signals, and tells how the process ended and what was in flight.
fn struck(scratch: &Scratch, out: &str, signal: &str) -> (std::process::ExitStatus, BTreeSet<String>) {
    let folder = scratch.join(out);
    let mut group = Group::spawn(command(scratch, out), &scratch.join(&format!("{out}.txt")));
    // Journals of runs before this one are settled by the time this one says how many shards there are.
    let log = group.stderr.clone();
    let begun = || fs::read_to_string(&log).unwrap_or_default().contains(" shards");
    let over = group.until(|| begun() && !in_flight(&folder, "track").is_empty());
    assert!(over.is_none(), "over before a signal: {}", group.said());
    let mut signals = Signals::new();
    signals.send(signal, &group);
    let status = group.child.wait().unwrap();
    (status, in_flight(&folder, "track"))
}

#[test]
fn a_clip_that_crashes_twice_is_dropped_and_a_kill_accuses_nobody() {
    let Some(scratch) = base() else { return };
    let (first, one) = struck(scratch, "crashed", "SEGV");
    assert_eq!(first.signal(), Some(11), "{first}");
    // On a busy machine a clip may end between the look and the signal, so that another is in flight the second time.
    let mut crashes: BTreeMap<String, u64> = one.into_iter().map(|clip| (clip, 1)).collect();
    for _ in 0..4 {
        let (status, again) = struck(scratch, "crashed", "SEGV");
        assert_eq!(status.signal(), Some(11), "{status}");
        assert_eq!(again.len(), 1, "a suspect does not run alone: {again:?}");
        for clip in again {
            *crashes.entry(clip).or_default() += 1;
        }
        if crashes.values().any(|times| *times > 1) {
            break;
        }
    }
    println!("in flight, how often: {crashes:?}");
    let guilty: Vec<&String> = crashes
        .iter()
        .filter(|(_, times)| **times > 1)
        .map(|(clip, _)| clip)
        .collect();
    assert_eq!(guilty.len(), 1, "{crashes:?}");
    let said = curate(scratch, "crashed");
    let summary = kit::numbers(&scratch.join("crashed"));
    assert_eq!(summary["dropped"]["crashes_decoder"], 1, "{summary}: {said}");
    assert_eq!(summary["kept"], 2, "{summary}");
    for clip in guilty {
        let told = stdout(&scratch.omni(&["explain", "crashed", clip]));
        assert!(told.contains("track: dropped, crashes_decoder"), "{told}");
    }
    assert_eq!(kit::numbers(&scratch.join("crashed"))["outcome"], "complete");
    for _ in 0..2 {
        let (status, _) = struck(scratch, "killed", "KILL");
        assert_eq!(status.signal(), Some(9));
    }
    curate(scratch, "killed");
    assert_whole(scratch, "killed");
}

#[test]
fn a_clip_that_hangs_ends_the_run_and_is_dropped_the_second_time() {
    let Some(scratch) = base() else { return };
    fs::create_dir_all(scratch.join("one")).unwrap();
    fs::copy(
        scratch.join("clips/woman_path.mp4"),
        scratch.join("one/woman_path.mp4"),
    )
    .unwrap();
    // No stage is done within a tenth of a millisecond: to this run every clip hangs.
    let args = [
        "--root",
        "one",
        "--out",
        "hung",
        "--set",
        "run.stuck_after=0.0001",
    ];
    let run = || scratch.omni(&[&["curate", "--source", "folder"], &args[..]].concat());
    let (mut ends, mut said) = (Vec::new(), String::new());
    while ends.last() != Some(&0) {
        let output = run();
        said += &stderr(&output);
        ends.push(code(&output));
        assert!(ends.len() < 40, "{ends:?}: {said}");
    }
    assert!(
        ends.len() > 2 && ends[..ends.len() - 1].iter().all(|code| *code == 4),
        "{ends:?}: {said}"
    );
    for words in [
        "woman_path.mp4 has shown no sign of life",
        "run.stuck_after",
        "run the same command again",
        "it goes on without this clip",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let told = kit::numbers(&scratch.join("hung"));
    assert_eq!(
        (&told["dropped"]["stuck"], &told["kept"]),
        (&1.into(), &0.into()),
        "{told}"
    );
    assert_eq!(kit::leftovers(&scratch.join("hung")), Vec::<PathBuf>::new());
    assert!(stdout(&scratch.omni(&["explain", "hung", "woman_path.mp4"])).contains("dropped, stuck"));
}

#[test]
fn an_interrupt_is_130_and_two_workers_on_one_shard_are_one() {
    let Some(scratch) = base() else { return };
    for signal in ["INT", "TERM"] {
        let (status, _) = struck(scratch, "stopped", signal);
        assert_eq!(status.code(), Some(130), "{signal}: {status}");
        kit::assert_sound(&scratch.join("stopped"), &scratch.join("out"));
        assert_eq!(kit::leftovers(&scratch.join("stopped")), Vec::<PathBuf>::new());
        assert_eq!(kit::numbers(&scratch.join("stopped"))["outcome"], "stopped");
    }
    curate(scratch, "stopped");
    assert_whole(scratch, "stopped");
    let mut workers =
        ["w0.txt", "w1.txt"].map(|log| Group::spawn(command(scratch, "both"), &scratch.join(log)));
    for worker in &mut workers {
        let status = worker.child.wait().unwrap();
        assert!(status.success(), "{}", worker.said());
    }
    curate(scratch, "both");
    assert_whole(scratch, "both");
}

/// A small file system, unmounted with the value; `None` where mounting is not allowed.
struct Mount(PathBuf);

impl Mount {
    fn new(at: PathBuf) -> Option<Mount> {
        fs::create_dir_all(&at).unwrap();
        let mounted = run(
            "mount",
            &["-t", "tmpfs", "-o", "size=1m", "omni-test", at.to_str().unwrap()],
        );
        if !mounted {
            println!("skipped: no right to mount a small file system");
        }
        mounted.then_some(Mount(at))
    }

    fn remount(&self, options: &str) {
        assert!(run(
            "mount",
            &["-o", &format!("remount,{options}"), self.0.to_str().unwrap()]
        ));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &[self.0.to_str().unwrap()]);
    }
}

fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .output()
        .is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_disk_and_a_read_only_one_are_named_and_room_completes_the_run() {
    let Some(scratch) = base() else { return };
    let Some(mount) = Mount::new(scratch.join("disk")) else {
        return;
    };
    // Room for nothing, for a listing and a part or two, for more; each time the run goes as far as it can.
    for room in [0, 40_000, 160_000, 300_000] {
        fs::write(scratch.join("disk/ballast"), vec![1_u8; (1 << 20) - room]).ok();
        let output = command(scratch, "disk/out").output().unwrap();
        let said = stderr(&output);
        println!(
            "{room} bytes of room: {}",
            said.lines().last().unwrap_or_default()
        );
        assert_eq!(code(&output), 1, "{room}: {said}");
        assert!(
            said.contains("No space left on device") && said.contains("disk/out"),
            "{room}: {said}"
        );
        kit::assert_sound(&scratch.join("disk/out"), &scratch.join("out"));
    }
    fs::remove_file(scratch.join("disk/ballast")).unwrap();
    mount.remount("size=64m");
    curate(scratch, "disk/out");
    assert_whole(scratch, "disk/out");
    mount.remount("ro");
    let output = command(scratch, "disk/out").output().unwrap();
    let said = stderr(&output);
    assert_eq!(code(&output), 1, "{said}");
    assert!(
        said.contains("Read-only file system") && said.contains("disk/out"),
        "{said}"
    );
    let shown = scratch.omni(&["show", "disk/out", "omni_caption", "--json"]);
    let rows: Vec<Value> = stdout(&shown)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        rows.len(),
        3,
        "a finished result can be read from a read-only disk"
    );
}
