//! An answer on the wire, with its fault.

use std::io::{Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::Fault;
use crate::answer::Answer;

/// How the exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// All of it; the connection may serve again.
    Whole,
    /// All of it, and the connection is closed.
    WholeAndClosed,
    /// Not all of it.
    Broken,
}

/// Gzip of `{}`, as any tool makes it.
const GZIP: &[u8] = &[
    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0, 0x43, 0xbf, 0xa6, 0xa3, 2, 0, 0, 0,
];

pub(crate) fn send(stream: &mut TcpStream, mut answer: Answer, fault: Option<&Fault>) -> Result<Sent> {
    let wait = |millis: u64| std::thread::sleep(Duration::from_millis(millis));
    let mut pause = 0;
    match fault {
        Some(Fault::DelayHead(millis)) => wait(*millis),
        Some(Fault::DelayChunks(millis)) => {
            pause = *millis;
            answer.chunks.get_or_insert(16);
        }
        Some(Fault::Stall) => {
            // Until the client has had enough.
            let _ = stream.set_read_timeout(Some(Duration::from_secs(600)));
            crate::request::drain(stream);
            return Ok(Sent::Broken);
        }
        Some(Fault::CloseBeforeHead) => return Ok(Sent::Broken),
        Some(Fault::NoEndMark) => {
            answer.chunks.get_or_insert(4096);
            answer.broken_end = true;
        }
        Some(Fault::Html) => {
            answer.status = 200;
            answer.headers = vec![("Content-Type".into(), "text/html; charset=utf-8".into())];
            answer.body = b"<html><body>Please log in</body></html>".to_vec();
            answer.chunks = None;
        }
        Some(Fault::InvalidUtf8) => {
            let middle = answer.body.len() / 2;
            answer.body.splice(middle..middle, [0xff, 0xfe, 0xc0]);
        }
        Some(Fault::Gzip) => {
            answer.headers.push(("Content-Encoding".into(), "gzip".into()));
            answer.body = GZIP.to_vec();
        }
        Some(Fault::Huge(bytes)) => answer.body = vec![b' '; usize::try_from(*bytes).unwrap_or(usize::MAX)],
        Some(Fault::Redirect(to)) => {
            answer.status = 307;
            answer.headers = vec![("Location".into(), to.clone())];
            answer.body.clear();
        }
        Some(Fault::Chunks(bytes)) => answer.chunks = Some((*bytes).max(1)),
        _ => {}
    }
    head(stream, &answer, fault)?;
    match fault {
        Some(Fault::CloseAfterHead) => return Ok(Sent::Broken),
        Some(Fault::CloseMidChunk) => {
            let half = &answer.body[..answer.body.len() / 2];
            write!(stream, "{:x}\r\n", answer.body.len())?;
            stream.write_all(half)?;
            return Ok(Sent::Broken);
        }
        _ => {}
    }
    body(stream, &answer, pause)?;
    Ok(match fault {
        _ if answer.broken_end => Sent::Broken,
        Some(Fault::WrongLength(_)) => Sent::Broken,
        Some(Fault::DropKeepAlive | Fault::Unframed) => Sent::WholeAndClosed,
        _ => Sent::Whole,
    })
}

fn head(stream: &mut TcpStream, answer: &Answer, fault: Option<&Fault>) -> Result<()> {
    let mut text = format!("HTTP/1.1 {} {}\r\n", answer.status, phrase(answer.status));
    for (name, value) in &answer.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    match (fault, answer.chunks) {
        (Some(Fault::Unframed), _) => text.push_str("Connection: close\r\n"),
        (Some(Fault::CloseMidChunk), _) | (_, Some(_)) => text.push_str("Transfer-Encoding: chunked\r\n"),
        (Some(Fault::WrongLength(more)), None) => {
            text.push_str(&format!(
                "Content-Length: {}\r\n",
                answer.body.len() as u64 + more
            ));
        }
        (_, None) => text.push_str(&format!("Content-Length: {}\r\n", answer.body.len())),
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

fn body(stream: &mut TcpStream, answer: &Answer, pause: u64) -> Result<()> {
    let Some(size) = answer.chunks else {
        return stream.write_all(&answer.body);
    };
    for chunk in answer.body.chunks(size.max(1)) {
        write!(stream, "{:x}\r\n", chunk.len())?;
        stream.write_all(chunk)?;
        stream.write_all(b"\r\n")?;
        if pause > 0 {
            stream.flush()?;
            std::thread::sleep(Duration::from_millis(pause));
        }
    }
    match answer.broken_end {
        true => Ok(()),
        false => stream.write_all(b"0\r\n\r\n"),
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        307 => "Temporary Redirect",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        _ => "Status",
    }
}

/// Ends a connection so that the client sees an end of file, and no reset that could eat what was sent.
pub(crate) fn hang_up(stream: &mut TcpStream) {
    let _ = stream.flush();
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
    let mut rest = [0; 1024];
    while matches!(stream.read(&mut rest), Ok(n) if n > 0) {}
}
