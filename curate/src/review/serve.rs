//! The cards over HTTP on this machine only.
//!
//! Everything lies below a path that is drawn anew for each start and printed in the terminal, so that no other page and
//! no other user of the machine finds it. A verdict is taken only when the browser says that our own page sends it
//! (`Origin`, and `Sec-Fetch-Site` where it is told), as JSON, which another page could not send unasked.

use super::{Claims, Summary, Verdict, Verdicts, cards, summary};
use crate::{
    finished::Error,
    http::{self, Answer, Request},
    report::{place, serve::inside},
};
use omni_pipeline::{Cancel, readers::Run};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What the page may load: its own files and pictures inside the cards.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; media-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PAGE: &str = include_str!("assets/index.html");
const STYLE: &str = include_str!("assets/review.css");
const SCRIPT: &str = include_str!("assets/review.js");

/// Listens on 127.0.0.1.
pub struct Server {
    listener: TcpListener,
    site: Arc<Site>,
}

struct Site {
    /// 32 hex digits.
    secret: String,
    port: u16,
    media: PathBuf,
    claims: Claims,
    cards: Vec<Value>,
    voices: BTreeMap<String, Vec<u8>>,
    verdicts: Mutex<Verdicts>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vote {
    id: String,
    verdict: Verdict,
}

impl Server {
    /// Reads the cards of a sample and opens the port (0: any free one); clips lie below `root`.
    ///
    /// # Errors
    /// When a part cannot be read, the port is taken, or a folder is not there.
    pub fn open(
        run: &Run,
        root: &Path,
        claims: Claims,
        verdicts: Verdicts,
        port: u16,
    ) -> Result<Server, Error> {
        let made = cards::make(run, &claims)?;
        let (listener, port) = http::listen(port)?;
        let site = Site {
            secret: secret()?,
            port,
            media: fs::canonicalize(root).map_err(Error::io(root))?,
            claims,
            cards: made.cards,
            voices: made.voices,
            verdicts: Mutex::new(verdicts),
        };
        Ok(Server {
            listener,
            site: Arc::new(site),
        })
    }

    /// The page's address, secret part and all.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{}/", self.site.port, self.site.secret)
    }

    /// Serves until cancelled.
    ///
    /// # Errors
    /// When the port stops working.
    pub fn run(&self, cancel: &Cancel) -> Result<(), Error> {
        http::serve(&self.listener, &self.site, answer, cancel)
    }

    /// What the verdicts come to.
    pub fn summary(&self) -> Summary {
        self.site.summary()
    }
}

fn secret() -> Result<String, Error> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; 16];
    let drawn = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    drawn.map_err(Error::io(path))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn answer(request: &Request, site: &Site) -> Answer {
    if !request.is_to(site.port) {
        return Answer::refuse("403 Forbidden");
    }
    let (method, path) = request.line();
    let below = path
        .strip_prefix('/')
        .and_then(|path| path.split_once('/'))
        .filter(|(secret, _)| *secret == site.secret);
    let Some((_, below)) = below else {
        return Answer::refuse("404 Not Found");
    };
    let mut answer = match (method, below) {
        ("GET" | "HEAD", _) => site.show(below, request),
        ("POST", "verdict") => site.vote(request),
        _ => Answer::refuse("405 Method Not Allowed"),
    };
    answer
        .headers
        .push(("Content-Security-Policy", POLICY.to_owned()));
    answer.headers.push(("Referrer-Policy", "same-origin".to_owned()));
    answer
}

impl Site {
    fn show(&self, below: &str, request: &Request) -> Answer {
        let range = request.header("range");
        match below.split_once('/') {
            None if below.is_empty() => Answer::bytes("text/html; charset=utf-8", PAGE),
            None if below == "review.css" => Answer::bytes("text/css; charset=utf-8", STYLE),
            None if below == "review.js" => Answer::bytes("text/javascript; charset=utf-8", SCRIPT),
            None if below == "cards.json" => self.json(&json!({
                "cards": self.cards, "of": self.claims.of, "verdicts": self.said(), "summary": self.summary(),
            })),
            Some(("voice", name)) => match name.strip_suffix(".wav").and_then(|id| self.voices.get(id)) {
                Some(bytes) => Answer::bytes("audio/wav", bytes.clone()),
                None => Answer::refuse("404 Not Found"),
            },
            Some(("media", path)) => match place::decode(path).and_then(|path| inside(&self.media, &path)) {
                Some(path) => Answer::file(&path, range),
                None => Answer::refuse("404 Not Found"),
            },
            _ => Answer::refuse("404 Not Found"),
        }
    }

    fn json(&self, value: &Value) -> Answer {
        Answer::bytes("application/json", value.to_string())
    }

    fn said(&self) -> BTreeMap<String, Verdict> {
        let verdicts = self.verdicts();
        let said = verdicts.of(&self.claims.bind);
        said.map(|said| (said.id.clone(), said.verdict)).collect()
    }

    fn summary(&self) -> Summary {
        summary(&self.verdicts(), &self.claims.bind)
    }

    fn vote(&self, request: &Request) -> Answer {
        let ours = [
            format!("http://127.0.0.1:{}", self.port),
            format!("http://localhost:{}", self.port),
        ];
        let origin = request.header("origin").unwrap_or_default();
        let site = request.header("sec-fetch-site").unwrap_or("same-origin");
        if !ours.iter().any(|ours| ours == origin) || site != "same-origin" {
            return Answer::refuse("403 Forbidden");
        }
        if request.header("content-type") != Some("application/json") {
            return Answer::refuse("415 Unsupported Media Type");
        }
        let vote = serde_json::from_slice::<Vote>(&request.body).ok();
        let found = vote.and_then(|vote| {
            let claim = self.claims.claims.iter().find(|claim| claim.id == vote.id)?;
            Some((claim, vote.verdict))
        });
        let Some((claim, verdict)) = found else {
            return Answer::refuse("400 Bad Request");
        };
        let kept = self.verdicts().say(claim, &self.claims.bind, verdict);
        match kept {
            Ok(()) => self.json(&json!({ "summary": self.summary() })),
            Err(error) => Answer {
                status: "500 Internal Server Error",
                ..Answer::bytes("text/plain; charset=utf-8", error.to_string())
            },
        }
    }

    fn verdicts(&self) -> MutexGuard<'_, Verdicts> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
