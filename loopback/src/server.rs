//! The server: a thread for each connection, rules in order, and a log that tests read back.

use std::io::{BufReader, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::answer::Answer;
use crate::personality::Files;
use crate::wire::{self, Sent};
use crate::{Fault, Personality, Request, Rule, decode};

/// A rate limiter that counts, on whatever clock it is given.
pub struct Limiter {
    /// Requests a second; one more is answered 429.
    pub per_second: u32,
    /// What `Retry-After` says, seconds; `None`: no such header.
    pub retry_after: Option<u64>,
    /// Time since some beginning.
    pub now: Box<dyn Fn() -> Duration + Send + Sync>,
}

/// How the server behaves beside its rules.
#[derive(Default)]
pub struct Options {
    /// What every request must show as its key.
    pub key: Option<String>,
    /// The limiter.
    pub limiter: Option<Limiter>,
    /// Takes one JSON line for each request when it has come, and one when it was answered.
    pub log: Option<Mutex<Box<dyn Write + Send>>>,
    /// Time that every answer takes.
    pub work: Duration,
}

/// One request, as the log has it: no header's value and no body.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Seen {
    /// From 1.
    pub nth: u64,
    /// Milliseconds since the server began.
    pub at_ms: u64,
    /// GET or POST.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names of the headers, lower case, in order.
    pub headers: Vec<String>,
    /// SHA-256 of the body; for a form of its parts, because the boundary is drawn by chance.
    pub body_sha256: String,
    /// Bytes of the body.
    pub body_bytes: usize,
    /// Names of a form's parts.
    pub parts: Vec<String>,
    /// Requests being worked on, this one included: come, and not yet answered.
    pub in_flight: usize,
    /// The status that was decided on; 0 before.
    pub status: u16,
    /// Whether all of the answer was given to the system to send.
    pub answered: bool,
}

struct Shared {
    personality: Personality,
    options: Options,
    rules: Mutex<Vec<(Rule, u64)>>,
    log: Mutex<Vec<Seen>>,
    window: Mutex<Vec<Duration>>,
    in_flight: AtomicUsize,
    count: AtomicU64,
    began: Instant,
    over: AtomicBool,
    files: Files,
}

/// A running server; it ends when this is dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    /// Starts on 127.0.0.1, any free port.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(personality: Personality, rules: Vec<Rule>) -> Result<Server> {
        Server::with_options(personality, rules, Options::default())
    }

    /// Starts with options.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn with_options(personality: Personality, rules: Vec<Rule>, options: Options) -> Result<Server> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            personality,
            options,
            rules: Mutex::new(rules.into_iter().map(|rule| (rule, 0)).collect()),
            log: Mutex::default(),
            window: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            count: AtomicU64::new(0),
            began: Instant::now(),
            over: AtomicBool::new(false),
            files: Files::default(),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || accept(&listener, &accepting));
        Ok(Server { address, shared })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far.
    pub fn log(&self) -> Vec<Seen> {
        locked(&self.shared.log).clone()
    }

    /// Forgets the log: a soak test counts as it goes.
    pub fn take_log(&self) -> Vec<Seen> {
        std::mem::take(&mut *locked(&self.shared.log))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.over.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = shared.clone();
        std::thread::spawn(move || {
            // A client that goes away in the middle is no business of the server's.
            let _ = serve(stream, &shared);
        });
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(request) = Request::read(&mut reader)? {
        let in_flight = shared.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        let sent = shared.exchange(&mut stream, &request, in_flight);
        if !matches!(sent, Ok(Sent::Whole)) {
            wire::hang_up(&mut stream);
            return sent.map(|_| ());
        }
    }
    Ok(())
}

impl Shared {
    fn exchange(&self, stream: &mut TcpStream, request: &Request, in_flight: usize) -> Result<Sent> {
        let nth = self.note(request, in_flight);
        let (answer, fault) = self.decide(request, nth);
        self.change(nth, |seen| seen.status = answer.status);
        std::thread::sleep(self.options.work);
        // Before the answer, so that a client who has it never finds itself counted twice.
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        let sent = wire::send(stream, answer, fault.as_ref());
        let whole = matches!(sent, Ok(Sent::Whole | Sent::WholeAndClosed));
        self.change(nth, |seen| seen.answered = whole);
        self.tell(nth);
        sent
    }

    fn note(&self, request: &Request, in_flight: usize) -> u64 {
        let nth = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        locked(&self.log).push(Seen {
            nth,
            at_ms: self.began.elapsed().as_millis() as u64,
            method: request.method.clone(),
            path: request.path.clone(),
            headers: request.headers.iter().map(|(name, _)| name.clone()).collect(),
            body_sha256: identity(request),
            body_bytes: request.body.len(),
            parts: request.part_names(),
            in_flight,
            status: 0,
            answered: false,
        });
        self.tell(nth);
        nth
    }

    fn change(&self, nth: u64, change: impl FnOnce(&mut Seen)) {
        if let Some(seen) = locked(&self.log).iter_mut().rev().find(|seen| seen.nth == nth) {
            change(seen);
        }
    }

    /// One line to the log's writer.
    fn tell(&self, nth: u64) {
        let Some(writer) = &self.options.log else { return };
        let seen = locked(&self.log)
            .iter()
            .rev()
            .find(|seen| seen.nth == nth)
            .cloned();
        if let Some(Ok(line)) = seen.map(|seen| serde_json::to_string(&seen)) {
            let mut writer = locked(writer);
            let _ = writeln!(writer, "{line}").and_then(|()| writer.flush());
        }
    }

    fn decide(&self, request: &Request, nth: u64) -> (Answer, Option<Fault>) {
        if self.options.key.as_ref().is_some_and(|key| !shows(request, key)) {
            return (self.personality.unauthorized(), None);
        }
        if let Some(refused) = self.limited() {
            return (refused, None);
        }
        match self.rule(request, nth) {
            None => (self.personality.answer(request, &self.files, (None, None)), None),
            Some(rule) => (self.said(request, &rule), rule.fault),
        }
    }

    fn limited(&self) -> Option<Answer> {
        let limiter = self.options.limiter.as_ref()?;
        let now = (limiter.now)();
        let mut window = locked(&self.window);
        window.retain(|at| now.saturating_sub(*at) < Duration::from_secs(1));
        if window.len() < limiter.per_second as usize {
            window.push(now);
            return None;
        }
        let text =
            r#"{"error": {"message": "rate limit", "type": "rate_limit", "param": null, "code": 429}}"#;
        let mut answer = Answer::json(429, text);
        let header = limiter
            .retry_after
            .map(|seconds| ("Retry-After".to_owned(), seconds.to_string()));
        answer.headers.extend(header);
        Some(answer)
    }

    /// The first rule that matches and is not used up; it is used once more by this.
    fn rule(&self, request: &Request, nth: u64) -> Option<Rule> {
        let mut rules = locked(&self.rules);
        let (rule, used) = rules.iter_mut().find(|(rule, used)| {
            rule.times.is_none_or(|times| *used < times) && rule.when.holds(request, nth)
        })?;
        *used += 1;
        Some(rule.clone())
    }
}

impl Shared {
    fn said(&self, request: &Request, rule: &Rule) -> Answer {
        let say = &rule.say;
        let file = say.body_file.as_ref().map(std::fs::read);
        let body = match (&say.body, file) {
            (Some(text), _) => Some(text.as_bytes().to_vec()),
            (None, Some(Ok(bytes))) => Some(bytes),
            (None, Some(Err(error))) => Some(format!("rule's body_file: {error}").into_bytes()),
            (None, None) => None,
        };
        let mut answer = match body {
            Some(body) => Answer {
                body,
                ..Answer::json(200, "")
            },
            None => {
                let words = (say.content.as_deref(), say.canned.as_deref());
                self.personality.answer(request, &self.files, words)
            }
        };
        answer.status = say.status.unwrap_or(answer.status);
        answer.headers.extend(say.headers.clone());
        answer
    }
}

fn shows(request: &Request, key: &str) -> bool {
    request.header("x-goog-api-key") == Some(key)
        || request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "))
            == Some(key)
}

/// The hash by which two equal requests are known.
fn identity(request: &Request) -> String {
    match request.form() {
        Some(parts) => {
            let mut bytes = request.path.clone().into_bytes();
            for part in parts {
                bytes.extend_from_slice(part.name.as_bytes());
                bytes.extend_from_slice(&part.bytes);
            }
            decode::sha256(&bytes)
        }
        None => decode::sha256(&request.body),
    }
}

fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
