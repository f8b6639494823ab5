//! Taking clips out of the logs: requests' hashes, answers and failures of every call that was about them alone.
//!
//! An answer that other clips share (their sound is the same) stays, because it is as much theirs; only the name goes.
//! What the calls have cost stays as one sum, so that a budget still holds. Each log is written anew under a temporary
//! name and renamed; a process killed on the way leaves logs that still name the clips, and the same call ends it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::super::{Key, ServiceError};
use super::frame::{self, Found, Head};
use super::index::{Account, logs};

/// What was, or would be, taken out of a folder of logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForgotCalls {
    /// Calls that are gone.
    pub calls: u64,
    /// Bytes of their answers.
    pub bytes: u64,
    /// Calls whose answer stays, because other clips have the same.
    pub shared: u64,
    /// Tries of logs by an older version, which do not say what they were about. They stay.
    pub unnamed: u64,
    /// Stretches that cannot be read, and so may be about anything. They go.
    pub damaged: u64,
}

/// What becomes of the calls that name a clip.
#[derive(Default)]
struct Verdict {
    gone: HashSet<Key>,
    shared: HashSet<Key>,
    unnamed: u64,
}

/// Takes clips out of every log of a folder. With `write` false nothing is written and the counts are those that would
/// be. Nothing at all is done where there is no such folder.
///
/// # Errors
/// When a log cannot be read or written, or a process that lives is writing it.
pub fn forget_calls(
    folder: &Path,
    clips: &BTreeSet<String>,
    write: bool,
) -> Result<ForgotCalls, ServiceError> {
    let mut forgot = ForgotCalls::default();
    if !folder.is_dir() {
        return Ok(forgot);
    }
    if write {
        sweep(folder).map_err(ServiceError::log(folder))?;
    }
    let paths = logs(folder)?;
    let verdict = judge(&paths, clips)?;
    forgot.calls = verdict.gone.len() as u64;
    forgot.shared = verdict.shared.len() as u64;
    forgot.unnamed = verdict.unnamed;
    for path in &paths {
        rewrite(path, clips, &verdict, write, &mut forgot).map_err(ServiceError::log(path))?;
    }
    Ok(forgot)
}

/// Temporary files of a process that was killed.
fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') && name.ends_with(".log.tmp") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// The clips that a record names.
fn named(head: &Head) -> Option<(Key, &Vec<String>)> {
    match head {
        Head::Sent { key, clips, .. } | Head::About { key, clips } => Some((Key::parse(key)?, clips)),
        _ => None,
    }
}

/// Reads all logs twice: first for the calls that name a clip, then for who else is named by them.
fn judge(paths: &[PathBuf], clips: &BTreeSet<String>) -> Result<Verdict, ServiceError> {
    let mut verdict = Verdict::default();
    let mut touched: HashMap<Key, bool> = HashMap::new();
    for path in paths {
        for found in heads(path).map_err(ServiceError::log(path))?.found {
            let Some((key, about)) = named(&found.head) else {
                continue;
            };
            verdict.unnamed += u64::from(about.is_empty());
            if about.iter().any(|clip| clips.contains(clip)) {
                touched.insert(key, false);
            }
        }
    }
    let again = if touched.is_empty() { &[] } else { paths };
    for path in again {
        for found in heads(path).map_err(ServiceError::log(path))?.found {
            if let Some((key, about)) = named(&found.head)
                && let Some(others) = touched.get_mut(&key)
            {
                *others |= about.iter().any(|clip| !clips.contains(clip));
            }
        }
    }
    for (key, others) in touched {
        match others {
            true => verdict.shared.insert(key),
            false => verdict.gone.insert(key),
        };
    }
    Ok(verdict)
}

fn heads(path: &Path) -> io::Result<frame::Scan> {
    frame::scan(&mut File::open(path)?, 0)
}

/// What is done with a record.
enum Fate {
    Kept,
    Gone,
    Changed(Head),
}

fn fate(found: &Found, clips: &BTreeSet<String>, verdict: &Verdict, ids: &mut HashSet<u64>) -> Fate {
    let is_gone = |key: &str| Key::parse(key).is_some_and(|key| verdict.gone.contains(&key));
    match &found.head {
        Head::Sent { id, key, .. } if is_gone(key) => {
            ids.insert(*id);
            Fate::Gone
        }
        Head::Answer { key, .. }
        | Head::Failed { key, .. }
        | Head::Refused { key, .. }
        | Head::About { key, .. }
            if is_gone(key) =>
        {
            Fate::Gone
        }
        Head::Paid { id, .. } if ids.contains(id) => Fate::Gone,
        Head::Sent { clips: about, .. } | Head::About { clips: about, .. }
            if about.iter().any(|clip| clips.contains(clip)) =>
        {
            let mut head = found.head.clone();
            if let Head::Sent { clips: about, .. } | Head::About { clips: about, .. } = &mut head {
                about.retain(|clip| !clips.contains(clip));
            }
            Fate::Changed(head)
        }
        _ => Fate::Kept,
    }
}

fn rewrite(
    path: &Path,
    clips: &BTreeSet<String>,
    verdict: &Verdict,
    write: bool,
    forgot: &mut ForgotCalls,
) -> io::Result<()> {
    let mut file = File::options().read(true).write(write).open(path)?;
    if write && matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        return Err(io::Error::other("a run is writing it; wait for its end"));
    }
    let scan = frame::scan(&mut file, 0)?;
    let torn = u64::from(file.metadata()?.len() > scan.end);
    forgot.damaged += scan.damaged + torn;
    let (mut ids, mut spent) = (HashSet::new(), Account::default());
    let mut kept: Vec<(Found, Option<Head>)> = Vec::new();
    let mut changed = scan.damaged + torn > 0;
    for found in scan.found {
        match fate(&found, clips, verdict, &mut ids) {
            Fate::Kept => kept.push((found, None)),
            Fate::Changed(head) => {
                changed = true;
                kept.push((found, Some(head)));
            }
            Fate::Gone => {
                changed = true;
                forgot.bytes += found.body_len;
                spent.note(&found.head);
            }
        }
    }
    if write && changed {
        publish(path, &mut file, &kept, &spent)?;
    }
    Ok(())
}

/// Writes the log anew beside the old one, and renames it over that.
fn publish(path: &Path, old: &mut File, kept: &[(Found, Option<Head>)], spent: &Account) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.tmp"));
    let mut new = io::BufWriter::new(File::create(&temporary)?);
    for (found, head) in kept {
        match head {
            Some(head) => new.write_all(&frame::encode(head, &[]).map_err(io::Error::other)?)?,
            None => {
                old.seek(SeekFrom::Start(found.at))?;
                let len = found.body_at + found.body_len - found.at;
                let copied = io::copy(&mut old.take(len), &mut new)?;
                if copied != len {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
    if let Some(head) = spent.carried() {
        new.write_all(&frame::encode(&head, &[]).map_err(io::Error::other)?)?;
    }
    new.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Recorded, ReplyLog, Share};
    use super::*;
    use crate::service::{Money, Reply};

    fn open(folder: &Path, worker: &str) -> ReplyLog {
        ReplyLog::open(folder, worker, Share::default()).unwrap()
    }

    fn ask(log: &ReplyLog, n: u8, clips: &[&str], answer: &str) {
        let clips: Vec<String> = clips.iter().map(|clip| (*clip).to_owned()).collect();
        let sent = log.sent(Key([n; 32]), "qwen", Money(100), &clips).unwrap();
        log.answered(sent, &Reply::ok(answer)).unwrap();
        log.paid(sent, Money(u64::from(n))).unwrap();
    }

    fn set(clips: &[&str]) -> BTreeSet<String> {
        clips.iter().map(|clip| (*clip).to_owned()).collect()
    }

    fn said(log: &ReplyLog, n: u8) -> Option<Vec<u8>> {
        match log.find(Key([n; 32])).unwrap() {
            Some(Recorded::Answer(reply)) => Some(reply.body),
            _ => None,
        }
    }

    fn holds(folder: &Path, words: &str) -> bool {
        logs(folder).unwrap().iter().any(|path| {
            let bytes = fs::read(path).unwrap();
            bytes
                .windows(words.len())
                .any(|window| window == words.as_bytes())
        })
    }

    fn filled(folder: &Path) {
        let (a, b) = (open(folder, "a"), open(folder, "b"));
        ask(&a, 1, &["x.mp4"], "words of x");
        ask(&a, 2, &["y.mp4"], "words of y");
        ask(&b, 3, &["x.mp4"], "more words of x");
        ask(&b, 4, &["x.mp4"], "words of twins");
        a.about(Key([4; 32]), &["z.mp4".to_owned()]).unwrap();
    }

    #[test]
    fn the_calls_of_a_clip_go_others_replay_and_the_money_stays_spent() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let dry = forget_calls(dir.path(), &set(&["x.mp4"]), false).unwrap();
        assert!(holds(dir.path(), "more words of x"));
        let done = forget_calls(dir.path(), &set(&["x.mp4"]), true).unwrap();
        assert_eq!(dry, done);
        assert_eq!(
            (done.calls, done.shared, done.unnamed, done.damaged),
            (2, 1, 0, 0)
        );
        for words in ["x.mp4", "words of x", &Key([1; 32]).hex(), &Key([3; 32]).hex()] {
            assert!(!holds(dir.path(), words), "{words}");
        }
        let log = open(dir.path(), "c");
        assert_eq!((said(&log, 1), said(&log, 3)), (None, None));
        assert_eq!(said(&log, 2).unwrap(), b"words of y");
        assert_eq!(
            said(&log, 4).unwrap(),
            b"words of twins",
            "as much the other clip's"
        );
        assert_eq!(log.spent(), Money(1 + 2 + 3 + 4));
        drop(log);
        let again = forget_calls(dir.path(), &set(&["x.mp4"]), true).unwrap();
        assert_eq!((again.calls, again.shared), (0, 0));
        let rest = forget_calls(dir.path(), &set(&["z.mp4"]), true).unwrap();
        assert_eq!((rest.calls, holds(dir.path(), "words of twins")), (1, false));
        assert_eq!(open(dir.path(), "d").spent(), Money(10));
    }

    #[test]
    fn a_kill_between_two_logs_is_made_good_by_the_next() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        filled(dir.path());
        let old = fs::read(dir.path().join("b-0.log")).unwrap();
        forget_calls(dir.path(), &set(&["x.mp4"]), true).unwrap();
        let wanted = fs::read(dir.path().join("b-0.log")).unwrap();
        fs::write(dir.path().join("b-0.log"), &old).unwrap();
        fs::write(dir.path().join(".b-0.log.tmp"), &old[..old.len() / 2]).unwrap();
        forget_calls(dir.path(), &set(&["x.mp4"]), true).unwrap();
        assert!(fs::read(dir.path().join("b-0.log")).unwrap() == wanted);
        assert!(!dir.path().join(".b-0.log.tmp").exists());
        assert_eq!(
            forget_calls(&other.path().join("none"), &set(&["x.mp4"]), true).unwrap(),
            ForgotCalls::default()
        );
    }

    #[test]
    fn what_cannot_be_read_goes_and_a_log_in_use_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let path = dir.path().join("a-0.log");
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes
            .windows(10)
            .position(|window| window == b"words of y")
            .unwrap();
        bytes.splice(at + 10..at + 10, *b"rubbish that held words of x");
        fs::write(&path, bytes).unwrap();
        let forgot = forget_calls(dir.path(), &set(&["nobody"]), true).unwrap();
        assert_eq!((forgot.calls, forgot.damaged), (0, 1));
        assert!(!holds(dir.path(), "rubbish"));
        let log = open(dir.path(), "live");
        ask(&log, 9, &["x.mp4"], "now");
        let error = forget_calls(dir.path(), &set(&["x.mp4"]), true).unwrap_err();
        assert!(error.to_string().contains("a run is writing it"), "{error}");
    }
}
