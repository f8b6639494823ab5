//! What ranks say when they meet, and the door at which they are heard: who says nothing, or nothing that can be understood, is sent
//! away.

use super::{
    Launch,
    frame::{self, Kind, LARGEST_GREETING},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    io::{self, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

/// Version of what is said.
const PROTOCOL: u32 = 1;
/// Who connects has this long to say who it is.
const GREET: Duration = Duration::from_secs(10);
/// So many may be saying it at once.
const GREETING_AT_ONCE: usize = 64;
/// Between two looks at a door or two tries to connect.
pub(super) const PAUSE: Duration = Duration::from_millis(25);

/// What the ranks of a run have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting {
    /// Name of the run: who has another is a stranger, even at the same port.
    pub run: String,
    /// Hash of its settings: ranks of a run with different ones do not begin.
    pub settings: String,
}

/// What a rank says to rank 0.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Hello {
    protocol: u32,
    version: String,
    run: String,
    settings: String,
    pub(super) rank: usize,
    world: usize,
    /// Where it listens for the others.
    pub(super) port: u16,
}

/// What rank 0 answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Answer {
    /// All are there: the name of this meeting, and where each rank listens.
    Begin { session: u64, doors: Vec<SocketAddr> },
    /// This one does not belong to the run, or was given something else; why.
    Refused(String),
    /// The run does not begin for another reason.
    Ended(String),
}

/// What a rank says to another that is not rank 0.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Peer {
    pub(super) session: u64,
    pub(super) rank: usize,
}

impl Hello {
    pub(super) fn new(launch: &Launch, meeting: &Meeting, port: u16) -> Self {
        Self {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            run: meeting.run.clone(),
            settings: meeting.settings.clone(),
            rank: launch.rank,
            world: launch.world,
            port,
        }
    }

    /// What is wrong with another's; whether it is one of this run all the same.
    pub(super) fn judge(&self, other: &Self) -> std::result::Result<(), (bool, String)> {
        let who = format!("rank {}", other.rank);
        if other.protocol != self.protocol || other.run != self.run {
            return Err((
                false,
                format!(
                    "{who} is of another run than the one that meets here (`{}`)",
                    self.run
                ),
            ));
        }
        let why = if other.version != self.version {
            format!("{who} is omni {}, rank 0 is omni {}", other.version, self.version)
        } else if other.world != self.world {
            format!("{who} counts {} ranks, rank 0 counts {}", other.world, self.world)
        } else if other.settings != self.settings {
            format!(
                "{who} was given another recipe, checkpoint or data than rank 0; give all the same command"
            )
        } else if other.rank == 0 || other.rank >= self.world {
            format!(
                "{who} came, and the ranks that may come are 1 to {}",
                self.world - 1
            )
        } else {
            return Ok(());
        };
        Err((true, why))
    }
}

pub(super) fn say(stream: &mut TcpStream, what: &impl Serialize) -> io::Result<()> {
    frame::write(stream, Kind::Greeting, &serde_json::to_vec(what)?)
}

/// Reads from a stream until a point in time, however slowly it comes.
struct Hurried<'a> {
    stream: &'a TcpStream,
    until: Instant,
}

impl Read for Hurried<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(bytes)
    }
}

pub(super) fn hear<T: DeserializeOwned>(stream: &mut impl Read) -> io::Result<T> {
    match frame::read(stream, LARGEST_GREETING)? {
        (Kind::Greeting, bytes) => Ok(serde_json::from_slice(&bytes)?),
        (kind, _) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{kind:?} instead of a greeting"),
        )),
    }
}

/// Whether the other side has closed.
pub(super) fn closed(stream: &TcpStream) -> bool {
    let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    let open = matches!(&looked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
        || matches!(looked, Ok(1..));
    let _ = stream.set_nonblocking(false);
    !open
}

/// Takes in whoever comes, and hears what each has to say beside the others.
pub(super) struct Door<T> {
    listener: TcpListener,
    heard: Receiver<(TcpStream, T)>,
    tell: std::sync::mpsc::Sender<(TcpStream, T)>,
    greeting: Arc<AtomicUsize>,
}

impl<T: DeserializeOwned + Send + 'static> Door<T> {
    pub(super) fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let (tell, heard) = channel();
        Ok(Self {
            listener,
            heard,
            tell,
            greeting: Arc::default(),
        })
    }

    /// The next one that said something that can be understood; `None` at the deadline.
    pub(super) fn next(&self, deadline: Instant) -> io::Result<Option<(TcpStream, T)>> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.greet(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // one that went before it was let in
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error),
            }
            if let Ok(next) = self.heard.recv_timeout(PAUSE) {
                return Ok(Some(next));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    fn greet(&self, stream: TcpStream) {
        if self.greeting.fetch_add(1, Ordering::SeqCst) >= GREETING_AT_ONCE {
            self.greeting.fetch_sub(1, Ordering::SeqCst);
            return; // a rank tries again
        }
        let (tell, greeting) = (self.tell.clone(), self.greeting.clone());
        std::thread::spawn(move || {
            let mut hurried = Hurried {
                stream: &stream,
                until: Instant::now() + GREET,
            };
            let heard = stream.set_nonblocking(false).and_then(|()| hear(&mut hurried));
            // what a stranger says is not worth a word: it is sent away, and the run goes on waiting
            if let Ok(said) = heard {
                let _ = tell.send((stream, said)); // nobody waits any more
            }
            greeting.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn one_that_says_it_letter_by_letter_is_not_heard_to_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut slow = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let dripping = std::thread::spawn(move || {
            // ends when the other side has gone away
            while slow.write_all(b"o").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let began = Instant::now();
        let mut hurried = Hurried {
            stream: &stream,
            until: began + Duration::from_millis(200),
        };
        let error = hurried.read_exact(&mut [0; 1 << 16]).unwrap_err();
        assert!(
            matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock),
            "{error}"
        );
        assert!(began.elapsed() >= Duration::from_millis(200));
        drop(stream);
        dripping.join().unwrap();
    }
}
