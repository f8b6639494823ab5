//! The program by itself: rules from a file, a log to a file, faults on a raw socket.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use omni_loopback::{Fault, Personality, Rule, Server};

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends one request and reads until the connection ends.
fn ask(url: &str, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nAuthorization: Bearer sk-1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn rules_come_from_a_file_and_the_log_holds_no_header_values() {
    let dir = std::env::temp_dir().join(format!("omni-loopback-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let (rules, log) = (dir.join("rules.json"), dir.join("log.jsonl"));
    let text = r#"[{"when": {"nth": 2}, "say": {"status": 429, "headers": {"Retry-After": "3"}, "body": "slow"}},
        {"when": {"contains": "poison"}, "times": 1, "fault": "close_before_head"}]"#;
    fs::write(&rules, text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_omni-loopback"))
        .args([
            "--personality",
            "vllm",
            "--rules",
            rules.to_str().unwrap(),
            "--log",
            log.to_str().unwrap(),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    let _ended = Ended(child);
    let url = url.trim();
    let chat = |text: &str| {
        ask(
            url,
            "POST",
            "/v1/chat/completions",
            &format!(r#"{{"messages": ["{text}"]}}"#),
        )
    };
    assert!(ask(url, "GET", "/v1/models", "").contains("max_model_len"));
    let limited = chat("a");
    assert!(
        limited.starts_with("HTTP/1.1 429")
            && limited.contains("Retry-After: 3")
            && limited.ends_with("slow")
    );
    assert_eq!(chat("poison"), "");
    assert!(chat("poison").contains("chat.completion"), "used up");
    let log = fs::read_to_string(&log).unwrap();
    assert!(
        log.contains("\"authorization\"") && !log.contains("sk-1"),
        "{log}"
    );
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(
        (
            last["nth"].as_u64(),
            last["status"].as_u64(),
            last["answered"].as_bool()
        ),
        (Some(4), Some(200), Some(true))
    );
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn wrong_words_are_refused() {
    let run = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_omni-loopback"))
            .args(args)
            .output()
            .unwrap()
    };
    for args in [
        &["--personality", "oracle"][..],
        &[],
        &["--personality"],
        &["--personality", "vllm", "--rules", "/none"],
    ] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn a_broken_answer_is_broken_on_the_wire() {
    let rows = [
        (Fault::CloseAfterHead, "\r\n\r\n"),
        (Fault::WrongLength(10), "}"),
        (Fault::NoEndMark, "}\r\n"),
    ];
    for (fault, end) in rows {
        let server = Server::start(Personality::Vllm, vec![Rule::fault(fault.clone())]).unwrap();
        let answer = ask(
            &server.url(),
            "POST",
            "/v1/chat/completions",
            r#"{"messages": []}"#,
        );
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with(end),
            "{fault:?}: {answer}"
        );
        assert!(!server.log()[0].answered, "{fault:?}");
    }
}
