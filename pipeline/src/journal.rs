//! Which clips were being decoded when a process crashed.
//!
//! Decoders are C; a hostile clip may take the process down. Clips of guarded stages are noted in
//! `OUT/log/inflight-<worker>.log` before and after. A crash leaves a byte in `OUT/log/crash-<worker>`, written by
//! the binary's signal handler; without it the process was killed from outside and its clips are innocent.

use crate::{Error, files, stage::locked, worker::Worker};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// Crashes and silences after which a clip is dropped.
const ENOUGH: u32 = 2;
/// A journal longer than this is begun anew with what is in flight.
const ROTATE: u64 = 1 << 20;
/// The word of a journal line that names a clip that does not end.
const STUCK: &str = "stuck";

/// Step folder to clip to what it did.
pub(crate) type Suspects = BTreeMap<String, BTreeMap<String, Faults>>;

/// How often a clip ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Faults {
    /// Crashes in which it was in flight.
    pub(crate) crashes: u32,
    /// Runs that it was stuck in.
    pub(crate) stuck: u32,
}

impl Faults {
    pub(crate) fn times(&self) -> u32 {
        self.crashes + self.stuck
    }

    /// The reason to drop the clip for, once there were enough.
    pub(crate) fn verdict(&self) -> Option<&'static str> {
        let reason = if self.stuck >= self.crashes {
            "stuck"
        } else {
            "crashes_decoder"
        };
        (self.times() >= ENOUGH).then_some(reason)
    }
}

/// The file a crash leaves its mark in. The binary opens it before the run and keeps it until the end of the process;
/// its handler of SIGSEGV, SIGABRT, SIGBUS, SIGFPE and SIGILL writes one byte to `file` and raises the signal again.
#[derive(Debug)]
pub struct CrashMarker {
    /// Open for writing; hand its descriptor to the signal handler.
    pub file: File,
    path: PathBuf,
}

impl CrashMarker {
    /// Makes this process' empty marker.
    ///
    /// # Errors
    /// When the output folder cannot be written.
    pub fn create(out: &Path) -> Result<CrashMarker, Error> {
        let log = out.join("log");
        files::folder(&log)?;
        let path = log.join(format!("crash-{}", Worker::me()));
        let file = File::create(&path).map_err(Error::io(&path))?;
        Ok(CrashMarker { file, path })
    }
}

impl Drop for CrashMarker {
    fn drop(&mut self) {
        if self.file.metadata().is_ok_and(|data| data.len() == 0) {
            let _ = fs::remove_file(&self.path); // an empty marker says nothing; the next start removes it
        }
    }
}

/// This process' journal; the file appears with the first guarded clip and goes with the value.
pub(crate) struct Journal {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    file: Option<File>,
    written: u64,
    /// (step, clip) to how often it is in flight.
    flying: BTreeMap<(String, String), u32>,
}

impl Journal {
    pub(crate) fn new(out: &Path) -> Journal {
        let path = out.join("log").join(format!("inflight-{}.log", Worker::me()));
        Journal {
            path,
            state: Mutex::default(),
        }
    }

    /// Notes that a clip begins in a step.
    pub(crate) fn begin(&self, step: &str, key: &str) -> Result<(), Error> {
        let mut state = locked(&self.state);
        *state.flying.entry((step.to_owned(), key.to_owned())).or_default() += 1;
        self.append(&mut state, "begin", step, key)
    }

    /// Notes that it is done.
    pub(crate) fn end(&self, step: &str, key: &str) -> Result<(), Error> {
        let mut state = locked(&self.state);
        let entry = (step.to_owned(), key.to_owned());
        if let Some(count) = state.flying.get_mut(&entry) {
            *count -= 1;
            if *count == 0 {
                state.flying.remove(&entry);
            }
        }
        if state.written > ROTATE {
            return self.rotate(&mut state);
        }
        self.append(&mut state, "end", step, key)
    }

    /// Notes that a clip does not end; whatever else is in flight when the process goes is innocent.
    pub(crate) fn stuck(&self, step: &str, key: &str) -> Result<(), Error> {
        self.append(&mut locked(&self.state), STUCK, step, key)
    }

    fn append(&self, state: &mut State, word: &str, step: &str, key: &str) -> Result<(), Error> {
        let line = line(word, step, key);
        if state.file.is_none() {
            let open = File::options().create(true).append(true).open(&self.path);
            state.file = Some(open.map_err(Error::io(&self.path))?);
        }
        if let Some(file) = &mut state.file {
            file.write_all(line.as_bytes()).map_err(Error::io(&self.path))?;
        }
        state.written += line.len() as u64;
        Ok(())
    }

    fn rotate(&self, state: &mut State) -> Result<(), Error> {
        let lines: String = state
            .flying
            .keys()
            .map(|(step, key)| line("begin", step, key))
            .collect();
        if let Some(file) = &mut state.file {
            file.set_len(0)
                .and_then(|()| file.write_all(lines.as_bytes()))
                .map_err(Error::io(&self.path))?;
        }
        state.written = lines.len() as u64;
        Ok(())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if locked(&self.state).file.is_some() {
            let _ = fs::remove_file(&self.path); // else the next start sees that nothing crashed
        }
    }
}

fn line(word: &str, step: &str, key: &str) -> String {
    format!("{}\n", Value::from(vec![word, step, key]))
}

/// The clips a journal leaves in flight; a torn last line counts for nothing.
fn in_flight(text: &str) -> Vec<(String, String)> {
    let mut flying: BTreeMap<(String, String), i64> = BTreeMap::new();
    for line in text.lines() {
        let Ok([word, step, key]) = serde_json::from_str::<[String; 3]>(line) else {
            continue;
        };
        *flying.entry((step, key)).or_default() += match word.as_str() {
            "begin" => 1,
            "end" => -1,
            _ => 0,
        };
    }
    flying
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(clip, _)| clip)
        .collect()
}

/// The clips a journal names as stuck.
fn stuck(text: &str) -> BTreeSet<(String, String)> {
    let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    let named = lines.filter_map(|[word, step, key]: [String; 3]| (word == STUCK).then_some((step, key)));
    named.collect()
}

/// What the journal of a process that is gone says about clips: a stuck one is known for certain, else whatever was
/// in flight in a crash is suspected.
fn accuse(text: &str, crashed: bool, suspects: &mut Suspects) {
    let stuck = stuck(text);
    let crashing = if crashed && stuck.is_empty() {
        in_flight(text)
    } else {
        Vec::new()
    };
    for (step, key) in crashing {
        suspects.entry(step).or_default().entry(key).or_default().crashes += 1;
    }
    for (step, key) in stuck {
        suspects.entry(step).or_default().entry(key).or_default().stuck += 1;
    }
}

/// Settles the journals of processes that are gone and returns who is suspected of crashing them.
pub(crate) fn settle(out: &Path) -> Result<Suspects, Error> {
    let log = out.join("log");
    files::folder(&log)?;
    for name in files::names(&log)? {
        let Some(tag) = name
            .strip_prefix("inflight-")
            .and_then(|name| name.strip_suffix(".log"))
        else {
            continue;
        };
        let Some(worker) = Worker::parse(tag) else {
            continue;
        };
        let marker = log.join(format!("crash-{worker}"));
        let crashed = fs::metadata(&marker).is_ok_and(|data| data.len() > 0);
        if !crashed && !worker.is_dead() {
            continue;
        }
        // Whoever renames the journal settles it; another worker that starts now finds it gone.
        let claimed = log.join(format!("settled-{tag}-by-{}", Worker::me()));
        if fs::rename(log.join(&name), &claimed).is_err() {
            continue;
        }
        let bytes = fs::read(&claimed).map_err(Error::io(&claimed))?;
        let text = String::from_utf8_lossy(&bytes);
        update(out, |suspects| accuse(&text, crashed, suspects))?;
        files::remove(&claimed)?;
        files::remove(&marker)?;
    }
    sweep_markers(&log)?;
    Ok(files::read_json(&suspects_path(out))?.unwrap_or_default())
}

/// Markers of dead processes that had nothing in flight.
fn sweep_markers(log: &Path) -> Result<(), Error> {
    for name in files::names(log)? {
        let worker = name.strip_prefix("crash-").and_then(Worker::parse);
        if worker.is_some_and(|worker| worker.is_dead()) {
            files::remove(&log.join(name))?;
        }
    }
    Ok(())
}

/// Clears a clip that ran alone and came through.
pub(crate) fn clear(out: &Path, step: &str, key: &str) -> Result<(), Error> {
    update(out, |suspects| {
        if let Some(keys) = suspects.get_mut(step) {
            keys.remove(key);
        }
        suspects.retain(|_, keys| !keys.is_empty());
    })
}

fn suspects_path(out: &Path) -> PathBuf {
    out.join("log/suspects.json")
}

/// Changes the list of suspects while no other worker does.
fn update(out: &Path, change: impl FnOnce(&mut Suspects)) -> Result<(), Error> {
    let lock = out.join("log/suspects.lock");
    let file = File::create(&lock).map_err(Error::io(&lock))?;
    file.lock().map_err(Error::io(&lock))?;
    let path = suspects_path(out);
    let before: Suspects = files::read_json(&path)?.unwrap_or_default();
    let mut after = before.clone();
    change(&mut after);
    if after != before {
        files::write_json(&path, &after)?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    fn leave(out: &Path, lines: &str, crashed: bool) {
        let log = out.join("log");
        fs::create_dir_all(&log).unwrap();
        let me = Worker::me().to_string();
        let dead = format!("{}-{}", me.rsplit_once('-').unwrap().0, 1); // this pid, another start
        fs::write(log.join(format!("inflight-{dead}.log")), lines).unwrap();
        fs::write(log.join(format!("crash-{dead}")), if crashed { "x" } else { "" }).unwrap();
    }

    const TWO: &str =
        "[\"begin\",\"s-1\",\"a\"]\n[\"begin\",\"s-1\",\"b\"]\n[\"end\",\"s-1\",\"a\"]\n[\"begin\",\"s-";

    #[test]
    fn a_crash_accuses_what_was_in_flight_and_a_kill_nobody() {
        let out = tempfile::tempdir().unwrap();
        leave(out.path(), TWO, false);
        assert!(settle(out.path()).unwrap().is_empty());
        leave(out.path(), TWO, true);
        assert_eq!(
            settle(out.path()).unwrap()["s-1"],
            BTreeMap::from([("b".to_owned(), Faults { crashes: 1, stuck: 0 })])
        );
        leave(out.path(), TWO, true);
        let faults = settle(out.path()).unwrap()["s-1"]["b"];
        assert_eq!((faults.crashes, faults.verdict()), (2, Some("crashes_decoder")));
        clear(out.path(), "s-1", "b").unwrap();
        assert!(settle(out.path()).unwrap().is_empty());
        let left = files::names(&out.path().join("log")).unwrap();
        assert_eq!(left, ["suspects.json", "suspects.lock"]);
    }

    #[test]
    fn a_stuck_clip_is_named_alone_even_when_the_end_was_a_crash() {
        let out = tempfile::tempdir().unwrap();
        let lines = format!("{TWO}\n[\"begin\",\"s-1\",\"c\"]\n[\"stuck\",\"s-1\",\"c\"]\n");
        leave(out.path(), &lines, false);
        let first = settle(out.path()).unwrap();
        assert_eq!(
            first["s-1"],
            BTreeMap::from([("c".to_owned(), Faults { crashes: 0, stuck: 1 })])
        );
        assert_eq!(first["s-1"]["c"].verdict(), None);
        leave(out.path(), &lines, true);
        let second = settle(out.path()).unwrap();
        assert_eq!(second["s-1"].len(), 1);
        assert_eq!(second["s-1"]["c"].verdict(), Some("stuck"));
    }

    #[test]
    fn the_journal_of_a_living_process_is_left_alone_and_stays_small() {
        let out = tempfile::tempdir().unwrap();
        fs::create_dir_all(out.path().join("log")).unwrap();
        let journal = Journal::new(out.path());
        journal.begin("s-1", "long").unwrap();
        for number in 0..20_000 {
            let key = format!("a clip with a long name, number {number}");
            journal.begin("s-1", &key).unwrap();
            journal.end("s-1", &key).unwrap();
        }
        assert!(settle(out.path()).unwrap().is_empty());
        assert!(fs::metadata(&journal.path).unwrap().len() < ROTATE + 4096);
        let text = fs::read_to_string(&journal.path).unwrap();
        assert_eq!(in_flight(&text), [("s-1".to_owned(), "long".to_owned())]);
    }
}
