//! A small HTTP/1.1 server for pages on this machine only: the gallery and the review. It listens on 127.0.0.1, reads
//! whole requests, and answers with bytes or with stretches of files, so that a browser can seek in a clip.

use crate::finished::Error;
use omni_media::Window;
use omni_pipeline::Cancel;
use std::{
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Connections served at once; a browser opens six.
const MOST: usize = 32;
/// Longest request head, bytes.
const HEAD: u64 = 16 << 10;
/// Longest body of a request, bytes.
const BODY: u64 = 4 << 10;
/// How long a silent connection is kept.
const SILENCE: Duration = Duration::from_secs(20);

/// What a browser asks.
#[derive(Debug, Default)]
pub(crate) struct Request {
    /// The first line and the headers.
    pub(crate) head: Vec<String>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.iter().skip(1).filter_map(|line| line.split_once(':'));
        fields
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// Method, and path without its query.
    pub(crate) fn line(&self) -> (&str, &str) {
        let mut words = self.head.first().map_or("", String::as_str).split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        (method, target.split(['?', '#']).next().unwrap_or_default())
    }

    /// Whether the browser names this machine and port. A page of somebody else's that reaches us through a name of its
    /// own that resolves to here does not.
    pub(crate) fn is_to(&self, port: u16) -> bool {
        let host = self.header("host").unwrap_or_default();
        host == format!("127.0.0.1:{port}") || host == format!("localhost:{port}")
    }
}

/// What a request gets.
pub(crate) struct Answer {
    pub(crate) status: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
}

/// The body of an answer.
pub(crate) enum Body {
    Bytes(Vec<u8>),
    /// Of a file: from where, how many bytes.
    File(Window, u64, u64),
}

impl Answer {
    /// A status and nothing else.
    pub(crate) fn refuse(status: &'static str) -> Answer {
        Answer {
            status,
            headers: Vec::new(),
            body: Body::Bytes(Vec::new()),
        }
    }

    /// Bytes of a media type.
    pub(crate) fn bytes(media_type: &str, bytes: impl Into<Vec<u8>>) -> Answer {
        Answer {
            status: "200 OK",
            headers: vec![
                ("Content-Type", media_type.to_owned()),
                ("Cache-Control", "no-store".to_owned()),
                ("X-Content-Type-Options", "nosniff".to_owned()),
            ],
            body: Body::Bytes(bytes.into()),
        }
    }

    /// A file, or the stretch of it that was asked for.
    pub(crate) fn file(path: &Path, range: Option<&str>) -> Answer {
        let Ok(file) = Window::open(path) else {
            return Answer::refuse("404 Not Found");
        };
        let size = file.length();
        let mut headers = vec![
            ("Content-Type", media_type(path).to_owned()),
            ("Accept-Ranges", "bytes".to_owned()),
            ("Cache-Control", "no-cache".to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
        ];
        let Some(range) = range.map(|text| stretch(text, size)) else {
            return Answer {
                status: "200 OK",
                headers,
                body: Body::File(file, 0, size),
            };
        };
        let Some((from, to)) = range else {
            let mut answer = Answer::refuse("416 Range Not Satisfiable");
            answer.headers.push(("Content-Range", format!("bytes */{size}")));
            return answer;
        };
        headers.push(("Content-Range", format!("bytes {from}-{}/{size}", to - 1)));
        Answer {
            status: "206 Partial Content",
            headers,
            body: Body::File(file, from, to - from),
        }
    }
}

/// Listens on 127.0.0.1 (port 0: any free one); the port too.
///
/// # Errors
/// When the port is taken.
pub(crate) fn listen(port: u16) -> Result<(TcpListener, u16), Error> {
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let taken = |source: std::io::Error| Error::Folder {
        path: PathBuf::from(at.to_string()),
        what: format!("cannot be listened on ({source}); give another --port"),
    };
    let listener = TcpListener::bind(at).map_err(taken)?;
    let port = listener.local_addr().map_err(taken)?.port();
    Ok((listener, port))
}

/// Serves until cancelled.
///
/// # Errors
/// When the port stops working.
pub(crate) fn serve<S: Send + Sync + 'static>(
    listener: &TcpListener,
    site: &Arc<S>,
    answer: fn(&Request, &S) -> Answer,
    cancel: &Cancel,
) -> Result<(), Error> {
    let broken = |source| Error::Io {
        path: PathBuf::from("127.0.0.1"),
        source,
    };
    listener.set_nonblocking(true).map_err(broken)?;
    let open = Arc::new(AtomicUsize::new(0));
    while !cancel.is_cancelled() {
        match listener.accept() {
            Ok((stream, _)) if open.load(Ordering::Relaxed) < MOST => {
                let (site, open) = (site.clone(), open.clone());
                open.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || {
                    let _ = talk(&stream, &|request| answer(request, &site)); // a browser that hangs up is no error
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
            Ok(_) => {} // dropped: the browser tries again
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(broken(error)),
        }
    }
    Ok(())
}

fn talk(stream: &TcpStream, answer: &dyn Fn(&Request) -> Answer) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let mut reader = BufReader::new(stream);
    while let Some(mut request) = head(&mut reader)? {
        let length = request.header("content-length").map_or(Ok(0), str::parse::<u64>);
        let chunked = request.header("transfer-encoding").is_some();
        let Some(length) = length.ok().filter(|length| *length <= BODY && !chunked) else {
            // Where the next request would begin is not known.
            return send(stream, Answer::refuse("413 Content Too Large"), false);
        };
        request.body = vec![0; length as usize];
        reader.read_exact(&mut request.body)?;
        let head_only = request.line().0 == "HEAD";
        send(stream, answer(&request), head_only)?;
    }
    Ok(())
}

/// The head of the next request; nothing when the connection ended.
fn head(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut lines = reader.take(HEAD);
    let mut request = Request::default();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim_end().is_empty() {
            return Ok(Some(request));
        }
        request.head.push(line.trim_end().to_owned());
    }
}

/// `bytes=a-b`, `bytes=a-`, `bytes=-n` as a half-open range that lies in the file.
fn stretch(text: &str, size: u64) -> Option<(u64, u64)> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to) = match (from.parse::<u64>().ok(), to.parse::<u64>().ok()) {
        (Some(from), Some(to)) => (from, to.saturating_add(1).min(size)),
        (Some(from), None) if to.is_empty() => (from, size),
        (None, Some(last)) if from.is_empty() => (size.saturating_sub(last), size),
        _ => return None,
    };
    (from < to).then_some((from, to))
}

fn media_type(path: &Path) -> &'static str {
    let kind = path
        .extension()
        .map(|kind| kind.to_string_lossy().to_ascii_lowercase());
    match kind.as_deref() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("mp4" | "m4v") => "video/mp4",
        Some("webm") => "video/webm",
        Some("mov") => "video/quicktime",
        Some("mkv") => "video/x-matroska",
        Some("mpg" | "mpeg") => "video/mpeg",
        Some("wav") => "audio/wav",
        _ => "application/octet-stream",
    }
}

fn send(mut stream: &TcpStream, answer: Answer, head_only: bool) -> std::io::Result<()> {
    let length = match &answer.body {
        Body::Bytes(bytes) => bytes.len() as u64,
        Body::File(_, _, length) => *length,
    };
    let mut head = format!("HTTP/1.1 {}\r\nContent-Length: {length}\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    match answer.body {
        _ if head_only => {}
        Body::Bytes(bytes) => stream.write_all(&bytes)?,
        Body::File(mut file, from, length) => {
            file.seek(SeekFrom::Start(from))?;
            std::io::copy(&mut file.take(length), &mut stream)?;
        }
    }
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lie_in_the_file_or_are_refused() {
        assert_eq!(stretch("bytes=0-", 10), Some((0, 10)));
        assert_eq!(stretch("bytes=2-3", 10), Some((2, 4)));
        assert_eq!(stretch("bytes=-4", 10), Some((6, 10)));
        assert_eq!(stretch("bytes=8-99999999999999999999", 10), None);
        assert_eq!(stretch("bytes=8-18446744073709551615", 10), Some((8, 10)));
        for wrong in [
            "bytes=10-",
            "bytes=5-4",
            "bytes=x-",
            "lines=0-1",
            "bytes=-",
            "bytes=0-1,4-5",
        ] {
            assert_eq!(stretch(wrong, 10), None, "{wrong}");
        }
    }

    #[test]
    fn a_request_is_read_with_its_body_and_the_next_one_behind_it() {
        let text = b"POST /a?b HTTP/1.1\r\nhOsT: 127.0.0.1:9\r\n\r\nbodyGET / HTTP/1.1\r\n\r\n";
        let mut reader = BufReader::new(&text[..]);
        let request = head(&mut reader).unwrap().unwrap();
        assert_eq!(request.line(), ("POST", "/a"));
        assert!(request.is_to(9) && !request.is_to(8));
        let mut body = [0; 4];
        reader.read_exact(&mut body).unwrap();
        assert_eq!(&body, b"body");
        assert_eq!(head(&mut reader).unwrap().unwrap().line(), ("GET", "/"));
        assert!(head(&mut reader).unwrap().is_none());
    }
}
