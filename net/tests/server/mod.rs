//! One scripted answer per connection, on the loopback interface, with a log of the requests.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<String>,
    body: Vec<u8>,
    tag: Option<String>,
    ranges: bool,
    if_range: bool,
    cut: Option<usize>,
    stall: bool,
    slow: bool,
}

impl Reply {
    pub fn file(body: &[u8]) -> Reply {
        let body = body.to_vec();
        Reply {
            status: 200,
            headers: vec![],
            body,
            tag: None,
            ranges: true,
            if_range: true,
            cut: None,
            stall: false,
            slow: false,
        }
    }
    pub fn status(status: u16, header: &str) -> Reply {
        Reply {
            status,
            ranges: false,
            ..Reply::file(b"")
        }
        .header(header)
    }
    pub fn header(mut self, line: &str) -> Reply {
        self.headers.push(line.to_owned());
        self
    }
    pub fn body(self, text: &str) -> Reply {
        Reply {
            body: text.into(),
            ..self
        }
    }
    pub fn tag(self, tag: &str) -> Reply {
        Reply {
            tag: Some(tag.to_owned()),
            ..self
        }
    }
    pub fn no_ranges(self) -> Reply {
        Reply {
            ranges: false,
            ..self
        }
    }
    /// Sends a range whatever `If-Range` says.
    pub fn ignore_if_range(self) -> Reply {
        Reply {
            if_range: false,
            ..self
        }
    }
    /// Closes the connection after so many bytes of the body.
    pub fn cut(self, bytes: usize) -> Reply {
        Reply {
            cut: Some(bytes),
            ..self
        }
    }
    pub fn stall(self) -> Reply {
        Reply { stall: true, ..self }
    }
    pub fn slow(self) -> Reply {
        Reply { slow: true, ..self }
    }
}

pub struct Server {
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn start(replies: Vec<Reply>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let shared = log.clone();
        std::thread::spawn(move || {
            for reply in replies {
                let Ok((stream, _)) = listener.accept() else {
                    return;
                };
                let request = read_head(&stream);
                shared.lock().unwrap().push(request.to_lowercase());
                let _ = answer(stream, &reply, &request);
            }
        });
        Server { address, log }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

fn read_head(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines
        .take_while(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

fn answer(mut stream: TcpStream, reply: &Reply, request: &str) -> std::io::Result<()> {
    if reply.stall {
        std::thread::sleep(Duration::from_millis(600));
        return Ok(());
    }
    let lower = request.to_lowercase();
    let find = |name: &str| {
        lower
            .lines()
            .find_map(|line| line.strip_prefix(name).map(str::to_owned))
    };
    let start = find("range: bytes=").and_then(|text| text.trim_end_matches('-').parse::<usize>().ok());
    let same = find("if-range: ").is_none_or(|tag| !reply.if_range || reply.tag.as_ref() == Some(&tag));
    let size = reply.body.len();
    let (status, body, range) = match start.filter(|_| reply.ranges && same) {
        Some(start) if start >= size => (416, &[][..], format!("Content-Range: bytes */{size}\r\n")),
        Some(start) => (
            206,
            &reply.body[start..],
            format!("Content-Range: bytes {start}-{}/{size}\r\n", size - 1),
        ),
        None => (reply.status, &reply.body[..], String::new()),
    };
    let mut head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{range}",
        body.len()
    );
    reply
        .headers
        .iter()
        .for_each(|line| head.push_str(&format!("{line}\r\n")));
    reply
        .tag
        .iter()
        .for_each(|tag| head.push_str(&format!("ETag: {tag}\r\n")));
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    let sent = &body[..reply.cut.unwrap_or(body.len()).min(body.len())];
    for piece in sent.chunks(if reply.slow { 4 } else { 1 << 16 }) {
        stream.write_all(piece)?;
        stream.flush()?;
        if reply.slow {
            std::thread::sleep(Duration::from_millis(40));
        }
    }
    Ok(())
}
