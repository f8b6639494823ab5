//! The report over HTTP on this machine only (`omni report --serve`): the page's files, and the clips below `/media/`
//! with byte ranges, so that a browser can seek.
//!
//! Only GET and HEAD, only files below the two folders, and only requests whose `Host` is this machine, so that a
//! page of somebody else's cannot read the clips through a name that resolves to here.

use super::{names, place};
use crate::{
    finished::Error,
    http::{self, Answer, Request},
};
use omni_media::{split_window, window_path};
use omni_pipeline::Cancel;
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
};

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
        let (listener, port) = http::listen(port)?;
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
        http::serve(&self.listener, &self.folders, answer, cancel)
    }
}

fn answer(request: &Request, folders: &Folders) -> Answer {
    if !request.is_to(folders.port) {
        return Answer::refuse("403 Forbidden");
    }
    let ("GET" | "HEAD", path) = request.line() else {
        return Answer::refuse("405 Method Not Allowed");
    };
    match find(path, folders) {
        Some(path) => Answer::file(&path, request.header("range")),
        None => Answer::refuse("404 Not Found"),
    }
}

/// The file of a URL's path, when it is one below its folder; links out of it are not followed.
fn find(path: &str, folders: &Folders) -> Option<PathBuf> {
    let path = place::decode(path)?;
    match path.strip_prefix("/media/") {
        Some(below) => inside(&folders.media, below),
        None if path == "/" => inside(&folders.report, "index.html"),
        None => inside(&folders.report, path.strip_prefix('/')?),
    }
}

/// A file, or a stretch of an archive, that really lies below a folder.
pub(crate) fn inside(folder: &Path, below: &str) -> Option<PathBuf> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
            let request = Request {
                head: vec![line.to_owned(), format!("hOsT: {host}")],
                body: Vec::new(),
            };
            answer(&request, &folders).status[..3].to_owned()
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
