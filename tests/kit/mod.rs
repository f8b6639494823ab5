//! What the tests on the sample corpus share: finding it, runs of the real process, and what lies in an output folder.

use crate::common::{Scratch, code, stderr, stdout, store};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::{Duration, Instant, SystemTime},
};

/// The folder that `scripts/sample_corpus.py` made, when it and the networks are here.
pub fn sample() -> Option<PathBuf> {
    store()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("OMNI_SAMPLE").map(PathBuf::from);
    let places = [
        named,
        Some(root.join("../data/sample")),
        Some(root.join("data/sample")),
    ];
    let found = places
        .into_iter()
        .flatten()
        .find(|place| place.join("expected.json").is_file());
    if found.is_none() {
        println!("skipped: no sample corpus; `python3 scripts/sample_corpus.py data/sample` makes it");
    }
    found.map(|place| place.canonicalize().unwrap())
}

/// Whether the long versions are wanted.
pub fn soak() -> bool {
    std::env::var_os("OMNI_SOAK").is_some()
}

/// A run of `omni curate` that must end well; what it said.
pub fn curate(scratch: &Scratch, args: &[&str]) -> (String, String) {
    let output = scratch.omni(&[&["curate"], args].concat());
    assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
    (stdout(&output), stderr(&output))
}

/// The rows of a record, as `omni show --json` prints them.
pub fn rows(scratch: &Scratch, out: &str, record: &str) -> Vec<Value> {
    let output = scratch.omni(&["show", out, record, "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A JSON file.
pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        .unwrap()
}

/// The numbers of `summary.json` that do not depend on how often a run was interrupted.
pub fn numbers(out: &Path) -> Value {
    let mut summary = json(&out.join("summary.json"));
    let fields = summary.as_object_mut().unwrap();
    fields.remove("seconds").expect("seconds per stage");
    fields.remove("shards").expect("parts made and found");
    summary
}

/// The stages of the last run, in order, with their folders.
pub fn stages(out: &Path) -> Vec<(String, PathBuf)> {
    let entries = json(&out.join("run.json"))["stages"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    entries
        .iter()
        .map(|entry| (text(&entry["stage"]), out.join(text(&entry["dir"]))))
        .collect()
}

/// Every file below a folder, sorted.
pub fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// The finished parts and tars of an output folder, by `folder/name`.
pub fn finished(out: &Path) -> BTreeMap<String, PathBuf> {
    let name = |path: &Path| path.strip_prefix(out).unwrap().to_string_lossy().into_owned();
    let is_part = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("part-");
    let files = walk(out).into_iter().filter(is_part);
    files.map(|path| (name(&path), path)).collect()
}

/// Panics unless both folders hold the same parts and tars, byte for byte; how many there are.
pub fn assert_same(out: &Path, undisturbed: &Path) -> usize {
    let (ours, theirs) = (finished(out), finished(undisturbed));
    let names = |files: &BTreeMap<String, PathBuf>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs), "not the same parts and tars");
    assert_sound(out, undisturbed);
    assert!(!ours.is_empty());
    ours.len()
}

/// Panics when a part that has its final name is not the undisturbed run's: nothing appears half.
pub fn assert_sound(out: &Path, undisturbed: &Path) {
    for (name, path) in finished(out) {
        let wanted =
            fs::read(undisturbed.join(&name)).unwrap_or_else(|_| panic!("{name} is in no undisturbed run"));
        assert!(
            fs::read(path).unwrap() == wanted,
            "{name} differs from the undisturbed run's"
        );
    }
}

/// Name, inode and time of change of every part and tar: equal means that nothing was written.
pub fn stamps(out: &Path) -> BTreeMap<String, (u64, SystemTime)> {
    let stamp = |path: &Path| {
        let about = fs::metadata(path).unwrap();
        (about.ino(), about.modified().unwrap())
    };
    finished(out)
        .into_iter()
        .map(|(name, path)| (name, stamp(&path)))
        .collect()
}

/// What a dead process may leave and the next run must remove.
pub fn leftovers(out: &Path) -> Vec<PathBuf> {
    let is_left = |path: &PathBuf| {
        let inside = path.strip_prefix(out).unwrap().to_string_lossy().into_owned();
        let words = [
            ".tmp",
            ".part",
            "staging.",
            "scratch-",
            "inflight-",
            "settled-",
            "crash-",
        ];
        words.iter().any(|word| inside.contains(word))
    };
    walk(out).into_iter().filter(is_left).collect()
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    for path in walk(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&path, &target).unwrap();
    }
}

/// A run of the binary in a process group of its own, its stderr in a file.
pub struct Group {
    pub child: Child,
    pub stderr: PathBuf,
}

impl Group {
    pub fn spawn(mut command: Command, stderr: &Path) -> Group {
        command
            .process_group(0)
            .stdout(Stdio::null())
            .stdin(Stdio::null());
        let child = command.stderr(File::create(stderr).unwrap()).spawn().unwrap();
        Group {
            child,
            stderr: stderr.to_owned(),
        }
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Waits until `seen` holds or the process ends by itself (then `Some`).
    pub fn until(&mut self, mut seen: impl FnMut() -> bool) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            if seen() {
                return None;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            assert!(
                began.elapsed() < Duration::from_secs(300),
                "hangs: {}",
                self.said()
            );
            std::thread::sleep(Duration::from_micros(300));
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A shell that waits for `kill` commands: its built-in one signals within microseconds.
pub struct Signals {
    shell: Child,
    input: ChildStdin,
}

impl Signals {
    pub fn new() -> Signals {
        let shell = Command::new("sh")
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut shell = shell.unwrap();
        let input = shell.stdin.take().unwrap();
        Signals { shell, input }
    }

    /// Signals the whole process group.
    pub fn send(&mut self, signal: &str, group: &Group) {
        writeln!(self.input, "kill -{signal} -{}", group.child.id()).unwrap();
        self.input.flush().unwrap();
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// SplitMix64: the delays only have to be repeatable.
pub struct Random(u64);

impl Random {
    /// From `OMNI_SEED`, else from the clock; printed, so that a failure can be repeated.
    pub fn new() -> Random {
        let named = std::env::var("OMNI_SEED").ok().and_then(|text| text.parse().ok());
        let clock = SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
        let seed = named.unwrap_or_else(|| u64::from(clock));
        println!("OMNI_SEED={seed}");
        Random(seed)
    }

    /// From 0, below a limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}
