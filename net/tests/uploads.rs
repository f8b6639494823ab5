//! Gemini's Files API, through the real client and real sockets: what is sent, every fault, and what is recorded.

use crate::kit;
use std::sync::Arc;
use std::time::Duration;

use kit::TestClock;
use omni_loopback::{Fault, Personality, Rule, Server};
use omni_net::service::{
    Auth, Body, Budget, Cached, Call, Gate, Http, HttpSettings, Limits, Media, Recorded, Replay, Reply,
    ReplyLog, Retry, Secret, ServiceError, Share, Transport, UploadSettings, Uploads,
};

const KEY: &str = "sk-upload-0123456789";
const BYTES: usize = 2500;

type Stack = Cached<Uploads<Retry<Recorded<Http>>, Retry<Http>>>;

struct Bench {
    server: Server,
    clock: Arc<TestClock>,
    dir: tempfile::TempDir,
    stack: Stack,
}

fn bench(rules: Vec<Rule>) -> Bench {
    let options = omni_loopback::Options {
        key: Some(KEY.into()),
        ..Default::default()
    };
    let server = Server::with_options(Personality::Gemini, rules, options).unwrap();
    let (clock, dir) = (TestClock::start(), tempfile::tempdir().unwrap());
    let http = || {
        let settings = HttpSettings {
            auth: Auth::Header("x-goog-api-key", Secret::new(KEY)),
            system_proxy: false,
            ..HttpSettings::new("gemini", &server.url())
        };
        Http::with_clock(settings, clock.clone()).unwrap()
    };
    let retry = || {
        (
            omni_net::Retry::default(),
            Gate::new("gemini", Limits::default(), clock.clone(), None),
        )
    };
    let log = Arc::new(ReplyLog::open(dir.path(), "test", Share::default()).unwrap());
    let recorded = Recorded::new(http(), log.clone(), Arc::new(Budget::unlimited()));
    let (policy, gate) = retry();
    let inner = Retry::new(recorded, policy, gate);
    let (policy, gate) = retry();
    let files = Retry::new(http(), policy, gate);
    let settings = UploadSettings {
        chunk: 1000,
        poll: Duration::from_secs(2),
        patience: Duration::from_secs(20),
    };
    let uploads = Uploads::new(inner, files, settings, clock.clone(), None);
    Bench {
        server,
        clock,
        dir,
        stack: Cached::new(uploads, log),
    }
}

fn call() -> Call {
    let media = Media {
        media_type: "video/mp4".into(),
        bytes: Arc::new((0..BYTES).map(|n| n as u8).collect()),
    };
    let body = serde_json::json!({"contents": [{"role": "user", "parts": [
        {"fileData": {"mimeType": "video/mp4", "fileUri": media.placeholder()}}, {"text": "Who speaks?"}]}]});
    Call {
        media: vec![media],
        ..Call::post(
            "gemini",
            "bind@1",
            "/v1beta/models/gemini-2.5-pro:generateContent",
            Body::Json(body.to_string().into_bytes()),
        )
    }
}

impl Bench {
    fn send(&self) -> Result<Reply, ServiceError> {
        self.stack.send(&call())
    }

    /// What was asked, in short words.
    fn steps(&self) -> String {
        let word = |seen: omni_loopback::Seen| match (seen.method.as_str(), seen.path.as_str()) {
            ("POST", "/upload/v1beta/files") => "start",
            ("POST", path) if path.starts_with("/upload") => "piece",
            ("GET", _) => "look",
            ("DELETE", _) => "delete",
            _ => "ask",
        };
        let words: Vec<&str> = self.server.log().into_iter().map(word).collect();
        words.join(" ")
    }
}

fn on(path: &str, mut rule: Rule) -> Rule {
    rule.when.path = Some(path.into());
    rule
}

const SESSION: &str = "/upload/v1beta/files?";
const START: &str = "/upload/v1beta/files";
const FILE: &str = "/v1beta/files/";
const ASK: &str = "/v1beta/models/";

#[test]
fn a_medium_goes_up_in_pieces_is_waited_for_named_and_deleted() {
    let bench = bench(vec![]);
    let reply = bench.send().unwrap();
    assert!(String::from_utf8_lossy(&reply.body).contains("STOP"));
    assert_eq!(bench.steps(), "start piece piece piece look ask delete");
    let log = bench.server.log();
    let bytes: usize = log
        .iter()
        .filter(|seen| seen.path.starts_with(SESSION))
        .map(|seen| seen.body_bytes)
        .sum();
    assert_eq!(bytes, BYTES);
    for seen in &log {
        assert!(!seen.path.contains(KEY) && seen.headers.contains(&"x-goog-api-key".to_owned()));
    }
    // The answer is known by the medium, not by the address it had: nothing is sent again, and a replay finds it.
    assert_eq!(bench.send().unwrap(), reply);
    assert_eq!(bench.server.log().len(), log.len());
    let replay = Replay::open(bench.dir.path()).unwrap();
    assert_eq!(replay.send(&call()).unwrap(), reply);
    for entry in std::fs::read_dir(bench.dir.path()).unwrap() {
        let recorded = std::fs::read(entry.unwrap().path()).unwrap();
        for secret in [KEY, "upload_id"] {
            assert!(
                !recorded
                    .windows(secret.len())
                    .any(|part| part == secret.as_bytes())
            );
        }
    }
}

#[test]
fn another_medium_is_another_question() {
    let other = Media {
        media_type: "video/mp4".into(),
        bytes: Arc::new(vec![1; 10]),
    };
    let text = |call: &Call| match &call.body {
        Body::Json(text) => String::from_utf8(text.clone()).unwrap(),
        _ => panic!(),
    };
    let body = text(&call()).replace(&call().media[0].placeholder(), &other.placeholder());
    let changed = Call {
        media: vec![other],
        body: Body::Json(body.into_bytes()),
        ..call()
    };
    assert_ne!(changed.key(), call().key());
}

#[test]
fn a_file_that_is_gone_or_not_ready_is_sent_again_once() {
    let expired = bench(vec![on(ASK, Rule::canned("expired").times(1))]);
    expired.send().unwrap();
    assert!(
        expired
            .steps()
            .ends_with("ask delete start piece piece piece look ask delete"),
        "{}",
        expired.steps()
    );
    let missing = r#"{"error": {"code": 404, "status": "NOT_FOUND", "message": "File f1 was not found"}}"#;
    let never = bench(vec![on(ASK, Rule::status(404, missing))]);
    match never.send().unwrap_err() {
        ServiceError::Refused { kind, .. } => assert_eq!(kind, "file_gone"),
        other => panic!("{other}"),
    }
    assert_eq!(never.steps().matches("ask").count(), 2);
    let idle = r#"{"error": {"code": 400, "status": "FAILED_PRECONDITION", "message": "The File f1 is not in an ACTIVE state"}}"#;
    let late = bench(vec![on(ASK, Rule::status(400, idle).times(1))]);
    late.send().unwrap();
    assert_eq!(late.steps().matches("ask").count(), 2);
}

#[test]
fn a_status_that_is_not_about_the_file_still_closes_the_endpoint() {
    let denied =
        r#"{"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "The project is suspended"}}"#;
    let unknown = r#"{"error": {"code": 404, "status": "NOT_FOUND", "message": "models/x is not found"}}"#;
    for (status, body) in [(403, denied), (404, unknown)] {
        let bench = bench(vec![on(ASK, Rule::status(status, body))]);
        assert!(matches!(bench.send().unwrap_err(), ServiceError::Closed { .. }));
        assert!(bench.steps().ends_with("ask delete"), "{}", bench.steps());
    }
}

#[test]
fn faults_of_the_wire_and_busy_servers_are_tried_again() {
    let busy = || Rule::status(503, "busy").times(1);
    for path in [SESSION, START, FILE, ASK] {
        let bench = bench(vec![on(path, busy())]);
        bench.send().unwrap();
        assert_eq!(bench.server.log().len(), 8, "{path}: {}", bench.steps());
    }
}

#[test]
fn a_piece_whose_answer_was_lost_starts_the_upload_anew() {
    // The server has the piece, the client does not know: the same piece again has the wrong offset.
    let bench = bench(vec![on(SESSION, Rule::fault(Fault::CloseBeforeHead).times(1))]);
    bench.send().unwrap();
    assert_eq!(
        bench.steps(),
        "start piece piece start piece piece piece look ask delete"
    );
}

#[test]
fn a_piece_without_a_status_is_sent_again_and_given_up() {
    let once = bench(vec![on(SESSION, Rule::canned("no_status").times(2))]);
    once.send().unwrap();
    assert_eq!(once.steps().matches("piece").count(), 5);
    let never = bench(vec![on(SESSION, Rule::canned("no_status"))]);
    let error = never.send().unwrap_err();
    assert!(error.is_pending() && error.reason() == "upload", "{error}");
}

#[test]
fn a_file_in_processing_is_given_up_after_a_while_and_a_failed_one_at_once() {
    let slow = bench(vec![on(FILE, Rule::canned("processing"))]);
    let error = slow.send().unwrap_err();
    assert!(error.is_pending() && error.reason() == "processing", "{error}");
    assert_eq!(slow.clock.passed(), Duration::from_secs(20));
    assert!(slow.steps().ends_with("look delete"), "{}", slow.steps());
    let failed = bench(vec![on(FILE, Rule::canned("failed"))]);
    match failed.send().unwrap_err() {
        ServiceError::Refused { kind, message, .. } => {
            assert!(kind == "file_failed" && message.contains("could not be processed"));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn the_key_goes_to_no_other_address() {
    let bench = bench(vec![on(START, Rule::canned("elsewhere"))]);
    let error = bench.send().unwrap_err();
    assert!(
        matches!(&error, ServiceError::Closed { why, .. } if why.contains("another address")),
        "{error}"
    );
    assert_eq!(bench.steps(), "start");
}

#[test]
fn an_upload_without_an_address_or_a_name_is_refused() {
    for (path, canned) in [(START, "no_address"), (SESSION, "bad_name")] {
        let bench = bench(vec![on(path, Rule::canned(canned))]);
        match bench.send().unwrap_err() {
            ServiceError::Refused { kind, .. } => assert_eq!(kind, "upload"),
            other => panic!("{other}"),
        }
    }
}
