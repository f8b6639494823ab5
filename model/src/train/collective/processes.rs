//! Ranks that are processes, over TCP. Every two have a connection. Each rank adds up its own slice, from what the others send of
//! it, in the order of the ranks: the same bits as [`Threads`](super::Threads), and n / world values held of each.
//!
//! A thread for every other rank reads what it sends as it comes, so that sending never waits for a rank that still computes, and
//! its end is noticed at once; one more says every few seconds that this rank is there. Nothing is encrypted: it is for the
//! network within a cluster.

use super::{
    Collective, Launch, Meeting, Patience,
    frame::{self, Kind, LARGEST},
    meet, slice_of,
};
use crate::{Error, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    io::{self, BufReader},
    net::{Shutdown, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// A rank says this often within the time that its silence is borne that it is there.
const BEATS: u32 = 6;
/// Longest that an end is told to the others.
const FAREWELL: Duration = Duration::from_secs(2);

/// A rank that ended, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Gone {
    rank: usize,
    why: String,
}

/// What has come, and who went.
struct State {
    come: Vec<VecDeque<Vec<u8>>>,
    done: Vec<bool>,
    /// The first that went before its time.
    gone: Option<Gone>,
}

struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn gone(&self, rank: usize, why: String) {
        self.change(|state| {
            state.gone.get_or_insert(Gone { rank, why });
        });
    }

    /// Takes in what rank `from` sends until it ends.
    fn read(&self, from: usize, stream: TcpStream, silence: Duration) {
        let mut stream = BufReader::with_capacity(1 << 16, stream);
        loop {
            match frame::read(&mut stream, LARGEST) {
                Ok((Kind::Values, bytes)) => self.change(|state| state.come[from].push_back(bytes)),
                Ok((Kind::Beat, _)) => {}
                Ok((Kind::Done, _)) => return self.change(|state| state.done[from] = true),
                Ok((Kind::Abort, bytes)) => {
                    let gone = serde_json::from_slice::<Gone>(&bytes);
                    let gone = gone.unwrap_or_else(|_| Gone {
                        rank: from,
                        why: "has ended".to_owned(),
                    });
                    return self.gone(gone.rank, gone.why);
                }
                Ok((Kind::Greeting, _)) => {
                    return self.gone(from, "greets in the middle of a run".to_owned());
                }
                Err(error) => return self.gone(from, silent(&error, silence)),
            }
        }
    }
}

/// Why nothing comes any more.
fn silent(error: &io::Error, silence: Duration) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!(
            "gave no sign of life for {} s (it hangs, or its machine is not reached)",
            silence.as_secs_f64()
        ),
        io::ErrorKind::InvalidData => format!("sent what is no message: {error}"),
        _ => "has ended (its connection closed)".to_owned(),
    }
}

/// Connections to write to, by rank.
type Lines = Vec<Option<Mutex<TcpStream>>>;

fn line(lines: &Lines, rank: usize) -> Option<MutexGuard<'_, TcpStream>> {
    let line = lines.get(rank)?.as_ref()?;
    Some(line.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A rank that is a process.
pub struct Processes {
    rank: usize,
    world: usize,
    lines: Arc<Lines>,
    inbox: Arc<Inbox>,
    ending: Arc<AtomicBool>,
    /// Number of the coming call.
    calls: AtomicU64,
    /// How this rank ends; `None` before its time.
    end: Mutex<Option<std::result::Result<(), String>>>,
    readers: Vec<JoinHandle<()>>,
    beat: Option<JoinHandle<()>>,
}

impl Processes {
    /// Meets the other ranks of the run.
    ///
    /// Fails with [`Error::Ranks`] where they do not fit together: another build, number of ranks, or settings; a port that is
    /// taken; and with [`Error::Rank`] where one does not come in time.
    pub fn meet(launch: &Launch, meeting: &Meeting, patience: &Patience) -> Result<Self> {
        let connections = meet::meet(launch, meeting, patience)?;
        let inbox = Arc::new(Inbox {
            state: Mutex::new(State {
                come: vec![VecDeque::new(); launch.world],
                done: vec![false; launch.world],
                gone: None,
            }),
            changed: Condvar::new(),
        });
        let mut readers = Vec::new();
        for (rank, stream) in connections.iter().enumerate() {
            let Some(stream) = stream else { continue };
            let stream = stream.try_clone().map_err(|error| Error::Rank {
                rank: launch.rank,
                why: error.to_string(),
            })?;
            let (inbox, silence) = (inbox.clone(), patience.silence);
            readers.push(std::thread::spawn(move || inbox.read(rank, stream, silence)));
        }
        let lines: Arc<Lines> = Arc::new(
            connections
                .into_iter()
                .map(|stream| stream.map(Mutex::new))
                .collect(),
        );
        let ending = Arc::new(AtomicBool::new(false));
        let beat = {
            let (lines, ending, every) = (lines.clone(), ending.clone(), patience.silence / BEATS);
            std::thread::spawn(move || beat(&lines, &ending, every))
        };
        Ok(Self {
            rank: launch.rank,
            world: launch.world,
            lines,
            inbox,
            ending,
            calls: AtomicU64::new(0),
            end: Mutex::new(None),
            readers,
            beat: Some(beat),
        })
    }

    /// This rank has done all it had to.
    pub fn finish(self) {
        self.end_as(Ok(()));
    }

    /// This rank cannot go on: the others stop, and say why.
    pub fn fail(self, why: &str) {
        self.end_as(Err(format!("failed: {why}")));
    }

    fn end_as(&self, how: std::result::Result<(), String>) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(how);
    }

    /// Who went before its time, and how; `None` while all are there.
    pub fn gone(&self) -> Option<(usize, String)> {
        let gone = self.inbox.lock().gone.clone();
        gone.map(|gone| (gone.rank, gone.why))
    }

    fn stops(&self, why: impl Into<String>) -> Error {
        Error::Rank {
            rank: self.rank,
            why: why.into(),
        }
    }

    /// Begins a call; what all ranks' calls of this number have to be.
    fn call(&self, name: &str, tensor: &Tensor) -> String {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        format!("{number} {name} of {} {:?}", tensor.elem_count(), tensor.dtype())
    }

    fn send(&self, to: usize, call: &str, values: &Tensor) -> Result<()> {
        let mut bytes =
            Vec::with_capacity(2 + call.len() + values.elem_count() * values.dtype().size_in_bytes());
        bytes.extend((call.len() as u16).to_le_bytes());
        bytes.extend(call.as_bytes());
        values.write_bytes(&mut bytes)?;
        let Some(mut line) = line(&self.lines, to) else {
            return Err(Error::Input(format!("there is no rank {to}")));
        };
        let Err(error) = frame::write(&mut *line, Kind::Values, &bytes) else {
            return Ok(());
        };
        drop(line);
        // the reader of this connection mostly knows better; the other end may have said why
        let state = self.inbox.lock();
        let pending = |state: &mut State| state.gone.is_none() && !state.done[to];
        let waited = self
            .inbox
            .changed
            .wait_timeout_while(state, Duration::from_secs(1), pending);
        drop(waited);
        self.inbox.gone(to, format!("takes no values ({error})"));
        Err(self.lost(to))
    }

    /// The values of a rank for a call, in the shape and on the device of `like`.
    fn receive(&self, from: usize, call: &str, like: &Tensor) -> Result<Tensor> {
        let mut state = self.inbox.lock();
        let bytes = loop {
            if let Some(bytes) = state.come[from].pop_front() {
                break bytes;
            }
            if state.gone.is_some() || state.done[from] {
                drop(state);
                return Err(self.lost(from));
            }
            state = self
                .inbox
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        drop(state);
        let (theirs, values) =
            opened(&bytes).ok_or_else(|| self.stops(format!("rank {from} sent half a message")))?;
        if theirs != call {
            let why =
                format!("rank {from} is at call {theirs}, this one at {call}: they do not train the same");
            self.inbox.gone(from, why.clone());
            return Err(self.stops(why));
        }
        if values.len() != like.elem_count() * like.dtype().size_in_bytes() {
            return Err(self.stops(format!("rank {from} sent {} bytes for call {call}", values.len())));
        }
        Ok(Tensor::from_raw_buffer(
            values,
            like.dtype(),
            like.dims(),
            like.device(),
        )?)
    }

    fn lost(&self, from: usize) -> Error {
        match self.gone() {
            Some((rank, why)) => self.stops(format!("rank {rank} {why}")),
            None => {
                // so that whoever hears of this rank's end hears of that one's
                self.inbox.gone(from, "has ended".to_owned());
                self.stops(format!("rank {from} has ended"))
            }
        }
    }

    /// The other ranks, beginning with the next one, so that not all send to the same.
    fn others(&self) -> impl Iterator<Item = usize> {
        let (rank, world) = (self.rank, self.world);
        (1..world).map(move |step| (rank + step) % world)
    }
}

/// What a call is, and its values.
fn opened(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (call, values) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((std::str::from_utf8(call).ok()?, values))
}

/// Says to all that this rank is there, until it ends.
fn beat(lines: &Lines, ending: &AtomicBool, every: Duration) {
    while !ending.load(Ordering::SeqCst) {
        for other in lines.iter().flatten() {
            // a line that is in use says it by itself
            if let Ok(mut line) = other.try_lock() {
                let _ = frame::write(&mut *line, Kind::Beat, &[]); // its reader notices that it is gone
            }
        }
        std::thread::park_timeout(every);
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        if let Some(beat) = self.beat.take() {
            beat.thread().unpark();
            let _ = beat.join();
        }
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        let gone = match end {
            Some(Ok(())) => None,
            // whoever went first is the reason, also for those that did not notice yet
            other => Some(self.inbox.lock().gone.clone().unwrap_or_else(|| {
                Gone {
                    rank: self.rank,
                    why: other
                        .and_then(std::result::Result::err)
                        .unwrap_or_else(|| "has ended".to_owned()),
                }
            })),
        };
        let said = gone.and_then(|gone| serde_json::to_vec(&gone).ok());
        for rank in self.others() {
            let Some(mut line) = line(&self.lines, rank) else {
                continue;
            };
            let _ = line.set_write_timeout(Some(FAREWELL));
            let _ = match &said {
                Some(said) => frame::write(&mut *line, Kind::Abort, said),
                None => frame::write(&mut *line, Kind::Done, &[]),
            };
            let _ = line.shutdown(Shutdown::Write);
        }
        // What a rank still sends is read, not refused: a connection that is torn down would take the farewell with it. Whoever
        // keeps its side open longer does so without this one.
        let until = std::time::Instant::now() + FAREWELL;
        while self.readers.iter().any(|reader| !reader.is_finished()) && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        for rank in self.others() {
            if let Some(line) = line(&self.lines, rank) {
                let _ = line.shutdown(Shutdown::Both);
            }
        }
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

impl Collective for Processes {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world(&self) -> usize {
        self.world
    }

    fn reduce_scatter(&self, bucket: &Tensor) -> Result<Tensor> {
        let bucket = bucket.detach();
        let size = slice_of(&bucket, self.world)?;
        let call = self.call("reduce_scatter", &bucket);
        let slice = |rank: usize| bucket.narrow(0, rank * size, size);
        for to in self.others() {
            self.send(to, &call, &slice(to)?)?;
        }
        let own = slice(self.rank)?;
        let mut sum: Option<Tensor> = None;
        for from in 0..self.world {
            let part = match from == self.rank {
                true => own.clone(),
                false => self.receive(from, &call, &own)?,
            };
            sum = Some(match sum {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        sum.ok_or_else(|| self.stops("nobody gave anything"))
    }

    fn all_gather(&self, slice: &Tensor) -> Result<Tensor> {
        let slice = slice.detach();
        let call = self.call("all_gather", &slice);
        for to in self.others() {
            self.send(to, &call, &slice)?;
        }
        let part = |from: usize| match from == self.rank {
            true => Ok(slice.clone()),
            false => self.receive(from, &call, &slice),
        };
        let parts: Vec<Tensor> = (0..self.world).map(part).collect::<Result<_>>()?;
        Ok(Tensor::cat(&parts, 0)?)
    }

    fn broadcast(&self, tensor: &Tensor, from: usize) -> Result<Tensor> {
        let tensor = tensor.detach();
        if from >= self.world {
            return Err(Error::Input(format!("there is no rank {from}")));
        }
        let call = self.call("broadcast", &tensor);
        if from == self.rank {
            for to in self.others() {
                self.send(to, &call, &tensor)?;
            }
            Ok(tensor)
        } else {
            self.receive(from, &call, &tensor)
        }
    }
}
