//! The report over HTTP on this machine only (`omni report --serve`): the page's files, and the clips below `/media/`
//! with byte ranges, so that a browser can seek.
//!
//! Only GET and HEAD, only files below the two folders, and only requests whose `Host` is this machine, so that a
//! page of somebody else's cannot read the clips through a name that resolves to here.

use super::{names, place};
use crate::finished::Error;
use omni_media::{Window, split_window, window_path};
use omni_pipeline::Cancel;
use std::{
    fs,
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
/// How long a silent connection is kept.
const SILENCE: Duration = Duration::from_secs(20);

/// Listens on 127.0.0.1.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    folders: Arc<Folders>,
}

#[derive(Debug)]
struct Folders {
    report: PathBuf,
    media: PathBuf,
    port: u16,
}

impl Server {
    /// Opens the port (0: any free one) for the report of an output folder and the clips below `root`.
    ///
    /// # Errors
    /// When the port is taken, or a folder is not there.
    pub fn open(out: &Path, root: &Path, port: u16) -> Result<Server, Error> {
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        let taken = |source: std::io::Error| Error::Folder {
            path: PathBuf::from(at.to_string()),
            what: format!("cannot be listened on ({source}); give another --port"),
        };
        let listener = TcpListener::bind(at).map_err(taken)?;
        let port = listener.local_addr().map_err(taken)?.port();
        let report = names::folder(out);
        let folders = Folders {
            report: fs::canonicalize(&report).map_err(Error::io(&report))?,
            media: fs::canonicalize(root).map_err(Error::io(root))?,
            port,
        };
        Ok(Server {
            listener,
            folders: Arc::new(folders),
        })
    }

    /// The page's address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.folders.port)
    }

    /// Serves until cancelled.
    ///
    /// # Errors
    /// When the port stops working.
    pub fn run(&self, cancel: &Cancel) -> Result<(), Error> {
        let broken = |source| Error::Io {
            path: PathBuf::from(self.url()),
            source,
        };
        self.listener.set_nonblocking(true).map_err(broken)?;
        let open = Arc::new(AtomicUsize::new(0));
        while !cancel.is_cancelled() {
            match self.listener.accept() {
                Ok((stream, _)) if open.load(Ordering::Relaxed) < MOST => {
                    let (folders, open) = (self.folders.clone(), open.clone());
                    open.fetch_add(1, Ordering::Relaxed);
                    std::thread::spawn(move || {
                        let _ = talk(&stream, &folders); // a browser that hangs up is no error
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
}

fn talk(stream: &TcpStream, folders: &Folders) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    loop {
        let mut lines = BufReader::new(stream.take(HEAD));
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim_end().is_empty() {
                break;
            }
            head.push(line.trim_end().to_owned());
        }
        let reply = answer(&head, folders);
        send(
            stream,
            reply,
            head.first().is_some_and(|line| line.starts_with("HEAD ")),
        )?;
    }
}

/// What a request gets.
struct Answer {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Option<(Window, u64, u64)>,
}

fn refuse(status: &'static str) -> Answer {
    Answer {
        status,
        headers: Vec::new(),
        body: None,
    }
}

fn answer(head: &[String], folders: &Folders) -> Answer {
    let header = |name: &str| {
        let mut fields = head.iter().skip(1).filter_map(|line| line.split_once(':'));
        fields
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    };
    let port = folders.port;
    let host = header("host").unwrap_or_default();
    if host != format!("127.0.0.1:{port}") && host != format!("localhost:{port}") {
        return refuse("403 Forbidden");
    }
    let mut words = head.first().map_or("", String::as_str).split(' ');
    let (Some("GET" | "HEAD"), Some(target)) = (words.next(), words.next()) else {
        return refuse("405 Method Not Allowed");
    };
    let path = target.split(['?', '#']).next().unwrap_or_default();
    match find(path, folders) {
        Some(path) => file(&path, header("range")),
        None => refuse("404 Not Found"),
    }
}

/// The file of a URL's path, when it is one below its folder; links out of it are not followed.
fn find(path: &str, folders: &Folders) -> Option<PathBuf> {
    let path = place::decode(path)?;
    let (folder, below) = match path.strip_prefix("/media/") {
        Some(below) => (&folders.media, below),
        None if path == "/" => (&folders.report, "index.html"),
        None => (&folders.report, path.strip_prefix('/')?),
    };
    let named = folder.join(below);
    let Some((archive, offset, length)) = split_window(&named) else {
        let file = fs::canonicalize(named).ok()?;
        return (file.starts_with(folder) && file.is_file()).then_some(file);
    };
    // A stretch of an archive: it is the archive that has to lie below the folder.
    let archive = fs::canonicalize(archive).ok()?;
    let name = named.file_name()?.to_str()?;
    let path = window_path(archive.to_str()?, offset, length, name);
    archive.starts_with(folder).then(|| path.into())
}

fn file(path: &Path, range: Option<&str>) -> Answer {
    let Ok(file) = Window::open(path) else {
        return refuse("404 Not Found");
    };
    let size = file.length();
    let mut headers = vec![
        ("Content-Type", media_type(path).to_owned()),
        ("Accept-Ranges", "bytes".to_owned()),
        ("Cache-Control", "no-cache".to_owned()),
        ("X-Content-Type-Options", "nosniff".to_owned()),
    ];
    let Some(range) = range.map(|text| bytes(text, size)) else {
        return Answer {
            status: "200 OK",
            headers,
            body: Some((file, 0, size)),
        };
    };
    let Some((from, to)) = range else {
        let mut answer = refuse("416 Range Not Satisfiable");
        answer.headers.push(("Content-Range", format!("bytes */{size}")));
        return answer;
    };
    headers.push(("Content-Range", format!("bytes {from}-{}/{size}", to - 1)));
    Answer {
        status: "206 Partial Content",
        headers,
        body: Some((file, from, to - from)),
    }
}

/// `bytes=a-b`, `bytes=a-`, `bytes=-n` as a half-open range that lies in the file.
fn bytes(text: &str, size: u64) -> Option<(u64, u64)> {
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
    let length = answer.body.as_ref().map_or(0, |(_, _, length)| *length);
    let mut head = format!("HTTP/1.1 {}\r\nContent-Length: {length}\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    if let Some((mut file, from, length)) = answer.body.filter(|_| !head_only) {
        file.seek(SeekFrom::Start(from))?;
        std::io::copy(&mut file.take(length), &mut stream)?;
    }
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lie_in_the_file_or_are_refused() {
        assert_eq!(bytes("bytes=0-", 10), Some((0, 10)));
        assert_eq!(bytes("bytes=2-3", 10), Some((2, 4)));
        assert_eq!(bytes("bytes=-4", 10), Some((6, 10)));
        assert_eq!(bytes("bytes=8-99999999999999999999", 10), None);
        assert_eq!(bytes("bytes=8-18446744073709551615", 10), Some((8, 10)));
        for wrong in [
            "bytes=10-",
            "bytes=5-4",
            "bytes=x-",
            "lines=0-1",
            "bytes=-",
            "bytes=0-1,4-5",
        ] {
            assert_eq!(bytes(wrong, 10), None, "{wrong}");
        }
    }

    fn folders(base: &Path) -> Folders {
        for (name, text) in [
            ("out/report/index.html", "page"),
            ("clips/a b.mp4", "film"),
            ("secret", "x"),
        ] {
            let path = base.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let real = |name: &str| fs::canonicalize(base.join(name)).unwrap();
        Folders {
            report: real("out/report"),
            media: real("clips"),
            port: 80,
        }
    }

    #[test]
    fn only_this_machine_and_only_the_two_folders_are_served() {
        let base = tempfile::tempdir().unwrap();
        let folders = folders(base.path());
        std::os::unix::fs::symlink(base.path().join("secret"), base.path().join("clips/link")).unwrap();
        let ask = |line: &str, host: &str| {
            answer(&[line.to_owned(), format!("hOsT: {host}")], &folders).status[..3].to_owned()
        };
        assert_eq!(ask("GET / HTTP/1.1", "127.0.0.1:80"), "200");
        assert_eq!(ask("GET /media/a%20b.mp4 HTTP/1.1", "localhost:80"), "200");
        for path in [
            "/media/../secret",
            "/media/%2e%2e/secret",
            "/../../secret",
            "/media/link",
            "/media/",
            "/x",
        ] {
            assert_eq!(
                ask(&format!("GET {path} HTTP/1.1"), "localhost:80"),
                "404",
                "{path}"
            );
        }
        assert_eq!(
            ask("GET /media/a%20b.mp4%21/1%2B2/c.mp4 HTTP/1.1", "localhost:80"),
            "200"
        );
        for path in [
            "/media/a%20b.mp4!/1+4/c.mp4",
            "/media/../secret!/0+1/x",
            "/media/link!/0+1/x",
        ] {
            assert_eq!(
                ask(&format!("GET {path} HTTP/1.1"), "localhost:80"),
                "404",
                "{path}"
            );
        }
        assert_eq!(ask("POST / HTTP/1.1", "localhost:80"), "405");
        for host in ["evil.example", "localhost", "localhost:81", ""] {
            assert_eq!(ask("GET / HTTP/1.1", host), "403", "{host}");
        }
    }
}
