//! Every answer on disk: `OUT/replies/<worker>-<n>.log`.
//!
//! A worker appends to a log of its own, under a lock, and reads everybody's. A record `sent` stands before each try and
//! an `answer`, `failed` or `refused` behind it; a `sent` alone in the log of a dead process is a call that a kill cut
//! off: it may have been paid. An answer is flushed to the disk before it is handed on. `sent` says which clips the call
//! is about, and `about` which others found its answer, so that a clip can be taken out again.

mod forget;
mod frame;
mod index;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use frame::Head;
use index::Index;

pub use forget::{ForgotCalls, forget_calls};

use super::{Key, Money, Reply, ServiceError, locked};

/// A log that is longer is followed by another.
const ROLL: u64 = 1 << 30;

/// This worker among its like, which share a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// From 0.
    pub rank: usize,
    /// How many.
    pub world: usize,
}

impl Default for Share {
    fn default() -> Self {
        Share { rank: 0, world: 1 }
    }
}

/// What happened in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tries sent.
    pub sent: u64,
    /// Answers written.
    pub answered: u64,
    /// Answers that were there already.
    pub from_disk: u64,
    /// Tries of a call whose earlier try ended where the service may have charged: by a kill, or a fault after its
    /// answer began.
    pub possibly_paid_twice: u64,
    /// Records that could not be read and were passed over.
    pub damaged: u64,
}

struct Own {
    file: File,
    path: PathBuf,
    len: u64,
}

struct State {
    index: Index,
    own: Option<Own>,
    next_log: u32,
    next_id: u64,
    /// Tries of each call whose end is in doubt.
    doubtful: HashMap<Key, u32>,
    counts: Counts,
}

/// See the module.
pub struct ReplyLog {
    folder: PathBuf,
    worker: String,
    share: Share,
    state: Mutex<State>,
    /// What earlier runs of this worker's part have paid, or may have.
    spent: Money,
    twice_before: u64,
}

/// A try that was noted down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Try {
    id: u64,
    key: Key,
}

/// A recorded end of a call.
#[derive(Debug)]
pub(crate) enum Recorded {
    Answer(Reply),
    Refused {
        status: u16,
        kind: String,
        message: String,
    },
}

impl ReplyLog {
    /// Opens the folder of logs, makes it where needed, cuts torn tails off the logs of dead processes and reads what is
    /// there. `worker` is a name that no other process has.
    ///
    /// # Errors
    /// When the folder or a log cannot be read or written.
    pub fn open(folder: &Path, worker: &str, share: Share) -> Result<ReplyLog, ServiceError> {
        fs::create_dir_all(folder).map_err(ServiceError::log(folder))?;
        let mut index = Index::default();
        let killed = index.load(folder, true)?;
        let spent = killed.spent(share);
        Ok(ReplyLog {
            folder: folder.to_owned(),
            worker: worker.to_owned(),
            share,
            state: Mutex::new(State {
                index,
                own: None,
                next_log: 0,
                next_id: 0,
                doubtful: killed.doubtful(),
                counts: Counts::default(),
            }),
            spent,
            twice_before: killed.twice(),
        })
    }

    /// Reads recorded logs and never writes.
    pub(crate) fn open_to_read(folder: &Path) -> Result<ReplyLog, ServiceError> {
        let mut index = Index::default();
        index.load(folder, false)?;
        Ok(ReplyLog {
            folder: folder.to_owned(),
            worker: String::new(),
            share: Share::default(),
            state: Mutex::new(State {
                index,
                own: None,
                next_log: 0,
                next_id: 0,
                doubtful: HashMap::new(),
                counts: Counts::default(),
            }),
            spent: Money(0),
            twice_before: 0,
        })
    }

    /// `possibly_paid_twice` over all runs so far, those that were killed included.
    pub fn possibly_paid_twice(&self) -> u64 {
        self.twice_before + locked(&self.state).counts.possibly_paid_twice
    }

    /// What earlier runs of this worker's part have paid: true prices where they are known, the largest otherwise.
    pub fn spent(&self) -> Money {
        self.spent
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        let state = locked(&self.state);
        Counts {
            damaged: state.index.damaged,
            ..state.counts
        }
    }

    /// The recorded end of a call, from any worker's log.
    pub(crate) fn find(&self, key: Key) -> Result<Option<Recorded>, ServiceError> {
        let mut state = locked(&self.state);
        if let Some(found) = state.index.read(key)? {
            state.counts.from_disk += u64::from(matches!(found, Recorded::Answer(_)));
            return Ok(Some(found));
        }
        state.index.refresh(&self.folder)?;
        let found = state.index.read(key)?;
        state.counts.from_disk += u64::from(matches!(found, Some(Recorded::Answer(_))));
        Ok(found)
    }

    /// Notes a try down before it is sent.
    pub(crate) fn sent(
        &self,
        key: Key,
        service: &str,
        booked: Money,
        clips: &[String],
    ) -> Result<Try, ServiceError> {
        let mut state = locked(&self.state);
        let id = state.next_id;
        state.next_id += 1;
        let doubts = state.doubtful.get(&key).copied().unwrap_or(0);
        let head = Head::Sent {
            id,
            key: key.hex(),
            service: service.to_owned(),
            booked: booked.0,
            doubts,
            clips: clips.to_owned(),
        };
        let (path, at) = self.append(&mut state, &head, &[], false)?;
        state.index.add(&path, &head, at);
        state.doubtful.remove(&key);
        state.counts.sent += 1;
        state.counts.possibly_paid_twice += u64::from(doubts);
        Ok(Try { id, key })
    }

    /// Notes that a recorded answer is about these clips too.
    pub(crate) fn about(&self, key: Key, clips: &[String]) -> Result<(), ServiceError> {
        let mut state = locked(&self.state);
        let clips = state.index.unknown(key, clips);
        if clips.is_empty() {
            return Ok(());
        }
        let head = Head::About {
            key: key.hex(),
            clips,
        };
        let (path, at) = self.append(&mut state, &head, &[], true)?;
        state.index.add(&path, &head, at);
        Ok(())
    }

    /// Writes an answer and waits until the disk has it.
    pub(crate) fn answered(&self, sent: Try, reply: &Reply) -> Result<(), ServiceError> {
        let mut state = locked(&self.state);
        let head = Head::Answer {
            id: sent.id,
            key: sent.key.hex(),
            status: reply.status,
            content_type: reply.content_type.clone(),
            encoding: reply.encoding.clone(),
            framed: reply.framed,
            sha256: frame::hash(&reply.body),
        };
        let (path, at) = self.append(&mut state, &head, &reply.body, true)?;
        state.index.add(&path, &head, at);
        state.counts.answered += 1;
        Ok(())
    }

    /// Notes the true price of an answer.
    pub(crate) fn paid(&self, sent: Try, price: Money) -> Result<(), ServiceError> {
        let head = Head::Paid {
            id: sent.id,
            price: price.0,
        };
        self.append(&mut locked(&self.state), &head, &[], false)
            .map(|_| ())
    }

    /// Notes a try that came to nothing.
    pub(crate) fn failed(&self, sent: Try, error: &ServiceError) -> Result<(), ServiceError> {
        let (id, key) = (sent.id, sent.key.hex());
        let head = match error {
            ServiceError::Refused {
                status,
                kind,
                message,
                ..
            } => Head::Refused {
                id,
                key,
                status: *status,
                error: kind.clone(),
                message: message.clone(),
            },
            error => Head::Failed {
                id,
                key,
                reason: error.reason(),
                maybe_paid: error.maybe_paid(),
            },
        };
        let mut state = locked(&self.state);
        self.append(&mut state, &head, &[], false)?;
        if error.maybe_paid() {
            *state.doubtful.entry(sent.key).or_default() += 1;
        }
        Ok(())
    }

    /// Appends a record; gives the file and where the record begins.
    fn append(
        &self,
        state: &mut State,
        head: &Head,
        body: &[u8],
        flush: bool,
    ) -> Result<(PathBuf, u64), ServiceError> {
        if state.own.as_ref().is_none_or(|own| own.len >= ROLL) {
            state.own = Some(self.start_log(state)?);
        }
        let Some(own) = state.own.as_mut() else {
            return Err(ServiceError::Setup("the reply log is not open".into()));
        };
        let at = own.len;
        write(own, head, body, flush)?;
        let (path, len) = (own.path.clone(), own.len);
        state.index.mine(&path, len);
        Ok((path, at))
    }

    /// A log that no process writes, locked for this one.
    fn start_log(&self, state: &mut State) -> Result<Own, ServiceError> {
        loop {
            let path = self
                .folder
                .join(format!("{}-{}.log", self.worker, state.next_log));
            state.next_log += 1;
            let made = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path);
            let file = match made {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(ServiceError::log(&path))?,
            };
            // Where the file system knows no locks, nobody takes the log for a dead one's either.
            let _ = file.lock();
            let mut own = Own { file, path, len: 0 };
            let head = Head::Worker {
                rank: self.share.rank as u64,
                world: self.share.world as u64,
            };
            write(&mut own, &head, &[], true)?;
            // The name itself must outlive a loss of power.
            let _ = File::open(&self.folder).and_then(|folder| folder.sync_all());
            return Ok(own);
        }
    }
}

fn write(own: &mut Own, head: &Head, body: &[u8], flush: bool) -> Result<(), ServiceError> {
    let frame = frame::encode(head, body).map_err(|error| ServiceError::Setup(error.to_string()))?;
    let written = own.file.write_all(&frame).and_then(|()| match flush {
        true => own.file.sync_data(),
        false => Ok(()),
    });
    if let Err(error) = written {
        // Half a record must not stand before the next one.
        use std::io::{Seek, SeekFrom};
        let _ = own
            .file
            .set_len(own.len)
            .and_then(|()| own.file.seek(SeekFrom::Start(own.len)));
        return Err(ServiceError::log(&own.path)(error));
    }
    own.len += frame.len() as u64;
    Ok(())
}

#[cfg(test)]
mod tests;
