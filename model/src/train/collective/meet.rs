//! How the processes of a run find each other: all go to rank 0 and say who they are; when the last has come, rank 0 tells each
//! where the others listen, and every two of them connect. Whoever comes and is none of the run is sent away, and nothing of what
//! it says is used.

use super::{
    Launch,
    greet::{Answer, Door, Hello, Meeting, PAUSE, Peer, closed, hear, say},
};
use crate::{Error, Result};
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

/// Rank 0 stays this long to tell the others why it does not begin.
const LINGER: Duration = Duration::from_secs(2);

/// How long a rank waits.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the others to come.
    pub meet: Duration,
    /// For any sign of life of one that came, before it counts as gone.
    pub silence: Duration,
}

impl Default for Patience {
    /// Five minutes to come, half a minute of silence.
    fn default() -> Self {
        Self {
            meet: Duration::from_secs(300),
            silence: Duration::from_secs(30),
        }
    }
}

/// Connections to the other ranks, by rank; `None` in one's own place.
pub(super) fn meet(
    launch: &Launch,
    meeting: &Meeting,
    patience: &Patience,
) -> Result<Vec<Option<TcpStream>>> {
    let connections = match launch.rank {
        0 => Host { launch, meeting }.gather(patience)?,
        _ => Guest { launch, meeting }.join(patience)?,
    };
    for stream in connections.iter().flatten() {
        let ready = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(patience.silence)))
            .and_then(|()| stream.set_write_timeout(Some(patience.silence)));
        ready.map_err(|error| stops(launch, error.to_string()))?;
    }
    Ok(connections)
}

fn stops(launch: &Launch, why: impl Into<String>) -> Error {
    Error::Rank {
        rank: launch.rank,
        why: why.into(),
    }
}

/// Ranks in words.
fn named(ranks: impl Iterator<Item = usize>) -> String {
    let all: Vec<String> = ranks.map(|rank| rank.to_string()).collect();
    format!("rank{} {}", if all.len() == 1 { "" } else { "s" }, all.join(", "))
}

/// Whether `address` is this machine's own by its writing.
pub(super) fn loopback(address: &str) -> bool {
    address == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The address to listen at where rank 0 is met: nobody else's machine needs to reach a loopback address.
fn door_at(launch: &Launch) -> IpAddr {
    let found = (launch.address.as_str(), launch.port).to_socket_addrs().ok();
    let first = found.and_then(|mut found| found.next()).map(|found| found.ip());
    match first {
        Some(address) if loopback(&launch.address) => address,
        Some(IpAddr::V6(_)) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}

/// Rank 0.
struct Host<'a> {
    launch: &'a Launch,
    meeting: &'a Meeting,
}

impl Host<'_> {
    fn gather(&self, patience: &Patience) -> Result<Vec<Option<TcpStream>>> {
        let (at, port) = (door_at(self.launch), self.launch.port);
        let listener = TcpListener::bind((at, port)).map_err(|error| {
            Error::Ranks(format!(
                "rank 0 cannot listen at {at} port {port}: {error}; another run may be meeting there: give another MASTER_PORT"
            ))
        })?;
        let door = Door::<Hello>::new(listener).map_err(|error| stops(self.launch, error.to_string()))?;
        let mut come = self.wait(&door, Instant::now() + patience.meet, patience)?;
        let session = RandomState::new().build_hasher().finish();
        let mut doors = vec![SocketAddr::new(at, port); self.launch.world];
        for (rank, guest) in come.iter().enumerate() {
            if let Some((_, door)) = guest {
                doors[rank] = *door;
            }
        }
        for (rank, guest) in come.iter_mut().enumerate() {
            let Some((stream, _)) = guest else { continue };
            let answer = Answer::Begin {
                session,
                doors: doors.clone(),
            };
            if let Err(error) = say(stream, &answer) {
                let why = format!("rank {rank} has ended ({error})");
                tell_all(come, &Answer::Ended(why.clone()));
                return Err(stops(self.launch, why));
            }
        }
        Ok(come
            .into_iter()
            .map(|guest| guest.map(|(stream, _)| stream))
            .collect())
    }

    /// Waits until all have come.
    fn wait(
        &self,
        door: &Door<Hello>,
        deadline: Instant,
        patience: &Patience,
    ) -> Result<Vec<Option<(TcpStream, SocketAddr)>>> {
        let own = Hello::new(self.launch, self.meeting, 0);
        let mut come: Vec<Option<(TcpStream, SocketAddr)>> = (0..self.launch.world).map(|_| None).collect();
        loop {
            // one that went while it waited may come again
            for guest in &mut come {
                *guest = guest.take().filter(|(stream, _)| !closed(stream));
            }
            if come.iter().flatten().count() + 1 == self.launch.world {
                return Ok(come);
            }
            let next = door
                .next(deadline)
                .map_err(|error| stops(self.launch, error.to_string()))?;
            let Some((mut stream, hello)) = next else {
                let missing = (1..self.launch.world).filter(|rank| come[*rank].is_none());
                let why = format!(
                    "{} of {} did not come to {} port {} within {} s; every rank has to be started (by torchrun, srun, or each with \
                     its own RANK)",
                    named(missing),
                    self.launch.world,
                    self.launch.address,
                    self.launch.port,
                    patience.meet.as_secs_f64()
                );
                tell_all(come, &Answer::Ended(why.clone()));
                return Err(stops(self.launch, why));
            };
            let again = come.get(hello.rank).and_then(Option::as_ref);
            let again = again.is_some_and(|(stream, _)| !closed(stream));
            let judged = own.judge(&hello);
            match judged {
                Ok(()) if again => {
                    let _ = say(
                        &mut stream,
                        &Answer::Refused(format!("rank {} is there already", hello.rank)),
                    );
                }
                Ok(()) => {
                    // one that went before it was answered; it may come again
                    let Ok(from) = stream.peer_addr() else { continue };
                    come[hello.rank] = Some((stream, SocketAddr::new(from.ip(), hello.port)));
                }
                Err((ours, why)) => {
                    let _ = say(&mut stream, &Answer::Refused(why.clone())); // it may be gone again
                    if ours {
                        tell_all(come, &Answer::Refused(why.clone()));
                        // those that are just being started need not wait for their patience to end
                        let until = Instant::now() + LINGER.min(patience.meet);
                        while let Ok(Some((mut stream, _))) = door.next(until) {
                            let _ = say(&mut stream, &Answer::Refused(why.clone()));
                        }
                        return Err(Error::Ranks(why));
                    }
                }
            }
        }
    }
}

/// Sends everybody home.
fn tell_all(come: Vec<Option<(TcpStream, SocketAddr)>>, answer: &Answer) {
    for (mut stream, _) in come.into_iter().flatten() {
        let _ = say(&mut stream, answer); // those that are gone know it
    }
}

/// Any other rank.
struct Guest<'a> {
    launch: &'a Launch,
    meeting: &'a Meeting,
}

impl Guest<'_> {
    fn join(&self, patience: &Patience) -> Result<Vec<Option<TcpStream>>> {
        let io = |error: io::Error| stops(self.launch, error.to_string());
        let at = match door_at(self.launch) {
            at if at.is_loopback() => at,
            at if at.is_ipv6() => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let listener = TcpListener::bind((at, 0)).map_err(io)?;
        let port = listener.local_addr().map_err(io)?.port();
        let (host, session, doors) = self.greet(port, patience)?;
        let host_at = host.peer_addr().map_err(io)?.ip();
        let mut connections: Vec<Option<TcpStream>> = (0..self.launch.world).map(|_| None).collect();
        connections[0] = Some(host);
        let deadline = Instant::now() + patience.silence.min(patience.meet);
        for (rank, connection) in connections.iter_mut().enumerate().take(self.launch.rank).skip(1) {
            // on rank 0's own machine; for whoever is not on it, that is where rank 0 is
            let mut door = *doors
                .get(rank)
                .ok_or_else(|| stops(self.launch, "rank 0 named too few ranks"))?;
            if door.ip().is_loopback() {
                door.set_ip(host_at);
            }
            *connection = Some(self.knock(rank, door, session, deadline)?);
        }
        self.let_in(listener, session, &mut connections, deadline)?;
        Ok(connections)
    }

    /// Goes to rank 0 and waits there until all have come.
    fn greet(&self, port: u16, patience: &Patience) -> Result<(TcpStream, u64, Vec<SocketAddr>)> {
        let deadline = Instant::now() + patience.meet;
        let mut last = String::new();
        while Instant::now() < deadline {
            match self.ask(port, deadline) {
                Ok((stream, Answer::Begin { session, doors })) => return Ok((stream, session, doors)),
                Ok((_, Answer::Refused(why))) => {
                    return Err(Error::Ranks(format!(
                        "rank 0 does not begin with this one: {why}"
                    )));
                }
                Ok((_, Answer::Ended(why))) => {
                    return Err(stops(self.launch, format!("rank 0 does not begin: {why}")));
                }
                Err(error) => last = error.to_string(),
            }
            std::thread::sleep(PAUSE * 4);
        }
        Err(stops(
            self.launch,
            format!(
                "rank 0 was not met at {} port {} within {} s ({last}); is it started, and does MASTER_ADDR name its machine?",
                self.launch.address,
                self.launch.port,
                patience.meet.as_secs_f64()
            ),
        ))
    }

    fn ask(&self, port: u16, deadline: Instant) -> io::Result<(TcpStream, Answer)> {
        let addresses = (self.launch.address.as_str(), self.launch.port).to_socket_addrs()?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            let mut stream = match TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
                Ok(stream) => stream,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            say(&mut stream, &Hello::new(self.launch, self.meeting, port))?;
            let left = deadline.saturating_duration_since(Instant::now());
            stream.set_read_timeout(Some(left.max(PAUSE)))?;
            let answer = hear(&mut stream)?;
            return Ok((stream, answer));
        }
        Err(last)
    }

    /// Connects to a rank before this one.
    fn knock(&self, rank: usize, door: SocketAddr, session: u64, deadline: Instant) -> Result<TcpStream> {
        let left = deadline.saturating_duration_since(Instant::now()).max(PAUSE);
        let connected = TcpStream::connect_timeout(&door, left).and_then(|mut stream| {
            let own = Peer {
                session,
                rank: self.launch.rank,
            };
            say(&mut stream, &own)?;
            stream.set_read_timeout(Some(left))?;
            let back: Peer = hear(&mut stream)?;
            if back.session == session && back.rank == rank {
                Ok(stream)
            } else {
                Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "somebody else listens there",
                ))
            }
        });
        connected.map_err(|error| stops(self.launch, format!("rank {rank} was not met at {door}: {error}")))
    }

    /// Lets in the ranks after this one.
    fn let_in(
        &self,
        listener: TcpListener,
        session: u64,
        connections: &mut [Option<TcpStream>],
        deadline: Instant,
    ) -> Result<()> {
        let io = |error: io::Error| stops(self.launch, error.to_string());
        let door = Door::<Peer>::new(listener).map_err(io)?;
        let after = self.launch.rank + 1..self.launch.world;
        while after.clone().any(|rank| connections[rank].is_none()) {
            let Some((mut stream, peer)) = door.next(deadline).map_err(io)? else {
                let missing = named(after.filter(|rank| connections[*rank].is_none()));
                return Err(stops(
                    self.launch,
                    format!("{missing} did not connect to this one"),
                ));
            };
            if peer.session != session || !after.contains(&peer.rank) || connections[peer.rank].is_some() {
                continue; // of another run
            }
            let own = Peer {
                session,
                rank: self.launch.rank,
            };
            say(&mut stream, &own).map_err(io)?;
            connections[peer.rank] = Some(stream);
        }
        Ok(())
    }
}
