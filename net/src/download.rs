//! One file from an address to a path: streamed, resumed, hashed, and renamed only when right.

use std::path::Path;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, LAST_MODIFIED,
    RANGE,
};

use crate::client::{address, failure, shown};
use crate::part::Part;
use crate::{Client, Error};

/// Between two looks whether the caller wants to stop.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
/// A try that brought so many bytes does not count as failed.
const PROGRESS: u64 = 1 << 20;

/// What to bring, and how to know that it is right.
#[derive(Debug, Clone, Copy)]
pub struct Download<'a> {
    /// `http` or `https` address.
    pub url: &'a str,
    /// Final path. The unfinished file is `PATH.part`; a file already at `path` is replaced, unless
    /// it has the hash asked for.
    pub path: &'a Path,
    /// SHA-256 in lower-case hex; without it the length alone is checked.
    pub sha256: Option<&'a str>,
    /// Length in bytes, where known.
    pub bytes: Option<u64>,
}

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes on disk, those of an earlier try included.
    pub done: u64,
    /// Length of the file, where the server or the caller said so.
    pub total: Option<u64>,
}

/// A finished download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    /// Length in bytes.
    pub bytes: u64,
    /// Bytes that were there from an earlier try and were not sent again.
    pub resumed: u64,
}

impl Client {
    /// Brings a file. Tries again while it comes on ([`crate::Retry`] counts tries that brought less than
    /// 1 MiB in a row). Safe against a second process doing the same: it waits, then finds it done.
    ///
    /// A wrong hash or length deletes what came; an interruption, a full disk or an answer that is
    /// visibly another file keeps `PATH.part` for the next call.
    pub fn download(&self, what: &Download<'_>, on: &mut dyn FnMut(Progress)) -> Result<Downloaded, Error> {
        let url = address(what.url)?;
        let mut part = Part::open(what.path, self.settings.interrupted)?;
        if let Some(done) = already_there(what)? {
            part.discard();
            return Ok(done);
        }
        if what.bytes.is_some_and(|bytes| part.len > bytes) {
            part.restart()?; // no file of this length can begin so
        }
        let (mut failed, mut afresh) = (0, false);
        loop {
            if part.len > 0 && part.tag.is_none() && what.sha256.is_none() {
                part.restart()?; // nothing would show that the rest is of the same file
            }
            let before = part.len;
            let tried = self
                .runtime
                .block_on(self.unless_stopped(self.attempt(&url, what, &mut part, on)));
            match tried.and_then(|()| check(&url, what, &part)) {
                Ok(()) => break,
                // The prefix on disk may be of another version or damaged: once more from the start.
                Err(Error::HashMismatch { .. }) if before > 0 && !afresh => {
                    part.restart()?;
                    afresh = true;
                }
                Err(error) => {
                    if part.len >= before + PROGRESS {
                        failed = 0; // a line that breaks again and again still brings a large file
                    }
                    failed += 1;
                    let Some(delay) = self.settings.retry.delay(failed, &error, &*self.clock) else {
                        // A wrong length in an answer's head (a log-in page, say) says nothing against the part.
                        let wrong = matches!(error, Error::HashMismatch { .. })
                            || matches!(error, Error::Length { .. }) && part.len != before;
                        if wrong || part.len == 0 {
                            part.discard();
                        }
                        return Err(error);
                    };
                    self.pause(delay)?;
                }
            }
        }
        let done = Downloaded {
            sha256: part.hash(),
            bytes: part.len,
            resumed: part.resumed,
        };
        part.publish(what.path)?;
        Ok(done)
    }

    /// Ends a request soon after the caller wants to stop.
    async fn unless_stopped(&self, request: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        let Some(interrupted) = self.settings.interrupted else {
            return request.await;
        };
        let stopped = async {
            while !interrupted() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            done = request => done,
            () = stopped => Err(Error::Stopped),
        }
    }

    /// Waits between two tries, or until the caller wants to stop.
    fn pause(&self, delay: Duration) -> Result<(), Error> {
        let Some(interrupted) = self.settings.interrupted else {
            self.clock.sleep(delay);
            return Ok(());
        };
        let mut left = delay;
        while !left.is_zero() {
            if interrupted() {
                return Err(Error::Stopped);
            }
            let step = left.min(LOOK);
            self.clock.sleep(step);
            left -= step;
        }
        Ok(())
    }

    /// One request, its body appended to the part.
    async fn attempt(
        &self,
        url: &Url,
        what: &Download<'_>,
        part: &mut Part,
        on: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        if part.len > 0 && what.bytes == Some(part.len) {
            return Ok(()); // whole already: the hash decides
        }
        let mut response = self.get(url, &range(part)).await?;
        let total = match response.status().as_u16() {
            416 => return unsatisfiable(url, response.headers(), part),
            206 if begins_at(response.headers(), part.len) => {
                let total = range_total(response.headers());
                check_head(url, what, response.headers(), total)?;
                if let Some(message) = other_version(response.headers(), part) {
                    part.restart()?;
                    let url = shown(url);
                    return Err(Error::Interrupted { url, message });
                }
                total
            }
            206 => {
                part.restart()?;
                let message = "the server sent another range than asked for".to_owned();
                return Err(Error::Interrupted {
                    url: shown(url),
                    message,
                });
            }
            _ => {
                let length = header(response.headers(), CONTENT_LENGTH);
                let total = length.and_then(|text| text.parse().ok());
                check_head(url, what, response.headers(), total)?; // before the part is given up
                part.restart()?;
                total
            }
        };
        if part.len == 0 {
            part.set_tag(validator(response.headers()))?;
        }
        let total = total.or(what.bytes);
        on(Progress {
            done: part.len,
            total,
        });
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(url, &error))? {
            part.append(&chunk)?;
            if let Some(expected) = total.filter(|&total| part.len > total) {
                return Err(Error::Length {
                    url: shown(url),
                    expected,
                    found: part.len,
                });
            }
            on(Progress {
                done: part.len,
                total,
            });
        }
        match total {
            Some(total) if part.len < total => {
                let message = format!("{} of {total} bytes came", part.len);
                Err(Error::Interrupted {
                    url: shown(url),
                    message,
                })
            }
            _ => Ok(()),
        }
    }
}

/// The file under its final name, if it has the hash asked for.
fn already_there(what: &Download<'_>) -> Result<Option<Downloaded>, Error> {
    let Some(expected) = what.sha256.filter(|_| what.path.is_file()) else {
        return Ok(None);
    };
    let fail = |error| Error::io(what.path, error);
    let mut file = std::fs::File::open(what.path).map_err(fail)?;
    let mut hasher = Hashing::default();
    let bytes = std::io::copy(&mut file, &mut hasher).map_err(fail)?;
    let sha256 = hasher.hex();
    Ok((sha256 == expected).then_some(Downloaded {
        sha256,
        bytes,
        resumed: bytes,
    }))
}

#[derive(Default)]
struct Hashing(sha2::Sha256);

impl Hashing {
    fn hex(self) -> String {
        use sha2::Digest;
        self.0
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl std::io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        sha2::Digest::update(&mut self.0, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn check(url: &Url, what: &Download<'_>, part: &Part) -> Result<(), Error> {
    if let Some(expected) = what.bytes.filter(|&bytes| bytes != part.len) {
        return Err(Error::Length {
            url: shown(url),
            expected,
            found: part.len,
        });
    }
    let found = part.hash();
    match what.sha256 {
        Some(expected) if expected != found => Err(Error::HashMismatch {
            url: shown(url),
            expected: expected.to_owned(),
            found,
        }),
        _ => Ok(()),
    }
}

fn check_head(url: &Url, what: &Download<'_>, headers: &HeaderMap, total: Option<u64>) -> Result<(), Error> {
    if let Some(encoding) = header(headers, CONTENT_ENCODING).filter(|text| *text != "identity") {
        return Err(Error::Encoding {
            url: shown(url),
            encoding: encoding.to_owned(),
        });
    }
    match (what.bytes, total) {
        (Some(expected), Some(found)) if expected != found => Err(Error::Length {
            url: shown(url),
            expected,
            found,
        }),
        _ => Ok(()),
    }
}

fn range(part: &Part) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if part.len == 0 {
        return headers;
    }
    if let Ok(value) = HeaderValue::from_str(&format!("bytes={}-", part.len)) {
        headers.insert(RANGE, value);
    }
    if let Some(value) = part
        .tag
        .as_deref()
        .and_then(|tag| HeaderValue::from_str(tag).ok())
    {
        headers.insert(IF_RANGE, value);
    }
    headers
}

/// 416: the part is the whole file already, or of another file.
fn unsatisfiable(url: &Url, headers: &HeaderMap, part: &mut Part) -> Result<(), Error> {
    if range_total(headers) == Some(part.len) {
        return Ok(());
    }
    part.restart()?;
    let message = "the server's file is shorter than what was there".to_owned();
    Err(Error::Interrupted {
        url: shown(url),
        message,
    })
}

/// A server may honour `Range` and not `If-Range`: then the validator of its answer tells.
fn other_version(headers: &HeaderMap, part: &Part) -> Option<String> {
    let (ours, theirs) = (part.tag.as_ref()?, validator(headers)?);
    (*ours != theirs).then(|| "the server has another version now than before".to_owned())
}

fn header(headers: &HeaderMap, name: reqwest::header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// `M` of `Content-Range: bytes a-b/M` or `bytes */M`.
fn range_total(headers: &HeaderMap) -> Option<u64> {
    header(headers, CONTENT_RANGE)?.rsplit_once('/')?.1.parse().ok()
}

fn begins_at(headers: &HeaderMap, at: u64) -> bool {
    let text = header(headers, CONTENT_RANGE).and_then(|text| text.strip_prefix("bytes "));
    text.and_then(|text| text.split_once('-'))
        .and_then(|(start, _)| start.parse().ok())
        == Some(at)
}

/// A strong `ETag`, else `Last-Modified`: what `If-Range` may hold (RFC 9110, 13.1.5).
fn validator(headers: &HeaderMap) -> Option<String> {
    let strong = header(headers, ETAG).filter(|tag| !tag.starts_with("W/"));
    strong
        .or_else(|| header(headers, LAST_MODIFIED))
        .map(str::to_owned)
}
