//! Which request gets what. The same form in code and in a rule file (a JSON list).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Request;

/// One rule; the first that matches and is not used up decides.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Which requests.
    pub when: Match,
    /// How often it holds; absent: always.
    pub times: Option<u64>,
    /// What is said; all absent: the personality's own answer.
    pub say: Say,
    /// How it is spoilt on the wire.
    pub fault: Option<Fault>,
}

/// Which requests a rule is for; all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// The path begins so.
    pub path: Option<String>,
    /// The body holds this text.
    pub contains: Option<String>,
    /// SHA-256 of the body, of a form's part, or of a medium inside JSON (base64 decoded).
    pub sha256: Option<String>,
    /// The n-th request of the server, from 1.
    pub nth: Option<u64>,
    /// Every n-th request.
    pub every: Option<u64>,
}

/// What is said instead of the personality's own answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Say {
    /// The status.
    pub status: Option<u16>,
    /// More headers.
    pub headers: BTreeMap<String, String>,
    /// The body as text.
    pub body: Option<String>,
    /// The body from a file, relative to where the server runs.
    pub body_file: Option<String>,
    /// What the model says, in the personality's own envelope (vllm, gemini: text; whisper: text; cosyvoice: seconds).
    pub content: Option<String>,
    /// A named fault of content or sound, see [`crate::Personality`].
    pub canned: Option<String>,
}

/// A fault of the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Waits before the head, milliseconds.
    DelayHead(u64),
    /// Waits between chunks of the body, milliseconds.
    DelayChunks(u64),
    /// Says nothing and keeps the connection.
    Stall,
    /// Ends the connection before the head.
    CloseBeforeHead,
    /// Ends it behind the head.
    CloseAfterHead,
    /// Ends it in the middle of a chunk.
    CloseMidChunk,
    /// Chunks, all of them, without the end mark.
    NoEndMark,
    /// Names a length this much larger than the body.
    WrongLength(u64),
    /// A web page with status 200.
    Html,
    /// Bytes that are no UTF-8 inside the body.
    InvalidUtf8,
    /// A compressed body although none was asked for.
    Gzip,
    /// A body of so many bytes.
    Huge(u64),
    /// Sends the client elsewhere.
    Redirect(String),
    /// Answers, says keep-alive, and drops the connection.
    DropKeepAlive,
    /// The body in chunks of so many bytes: a sample may be split.
    Chunks(usize),
    /// No length and no chunks: the end of the connection is the end of the body.
    Unframed,
}

impl Match {
    pub(crate) fn holds(&self, request: &Request, nth: u64) -> bool {
        let text =
            |wanted: &Option<String>, found: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(found);
        text(&self.path, &|path| request.path.starts_with(path))
            && text(&self.contains, &|words| request.body_holds(words.as_bytes()))
            && text(&self.sha256, &|hash| {
                request.hashes().iter().any(|found| found == hash)
            })
            && self.nth.is_none_or(|wanted| wanted == nth)
            && self
                .every
                .is_none_or(|every| every > 0 && nth.is_multiple_of(every))
    }
}

impl Rule {
    /// A status with a body, for requests that match.
    pub fn status(status: u16, body: &str) -> Rule {
        Rule {
            say: Say {
                status: Some(status),
                body: Some(body.to_owned()),
                ..Say::default()
            },
            ..Rule::default()
        }
    }

    /// A fault of the wire.
    pub fn fault(fault: Fault) -> Rule {
        Rule {
            fault: Some(fault),
            ..Rule::default()
        }
    }

    /// A named fault of content.
    pub fn canned(name: &str) -> Rule {
        Rule {
            say: Say {
                canned: Some(name.to_owned()),
                ..Say::default()
            },
            ..Rule::default()
        }
    }

    /// The words of the model.
    pub fn content(text: &str) -> Rule {
        Rule {
            say: Say {
                content: Some(text.to_owned()),
                ..Say::default()
            },
            ..Rule::default()
        }
    }

    /// The same, so many times.
    pub fn times(mut self, times: u64) -> Rule {
        self.times = Some(times);
        self
    }

    /// The same with a header.
    pub fn header(mut self, name: &str, value: &str) -> Rule {
        self.say.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The same, for every n-th request.
    pub fn every(mut self, n: u64) -> Rule {
        self.when.every = Some(n);
        self
    }

    /// The same, for bodies that hold a text.
    pub fn containing(mut self, text: &str) -> Rule {
        self.when.contains = Some(text.to_owned());
        self
    }
}
