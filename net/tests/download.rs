//! Downloads against a small server on the loopback interface that misbehaves on request.

use crate::server;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use omni_net::{Client, Clock, Download, Downloaded, Error, Settings, Token};
use server::{Reply, Server};

/// SHA-256 of `BODY`, from `printf 'hello over the wire' | sha256sum`.
const HASH: &str = "be951d4cdb7ed63cc0b8a0c2ef2a1a5eed4e8ba9227dfb78c28b47270468dabc";
const BODY: &[u8] = b"hello over the wire";

#[derive(Default)]
struct TestClock(Mutex<Vec<Duration>>);

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
    fn sleep(&self, duration: Duration) {
        self.0.lock().unwrap().push(duration);
    }
    fn uniform(&self) -> f64 {
        0.5
    }
}

struct Bench {
    clock: Arc<TestClock>,
    client: Client,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(token: Option<Token>) -> Bench {
        let clock = Arc::new(TestClock::default());
        let read_timeout = Duration::from_millis(400);
        let settings = Settings {
            read_timeout,
            token,
            system_proxy: false,
            ..Settings::default()
        };
        let client = Client::with_clock(settings, clock.clone()).unwrap();
        Bench {
            clock,
            client,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("sub/file.bin")
    }

    fn part(&self) -> PathBuf {
        self.dir.path().join("sub/file.bin.part")
    }

    fn get(&self, url: &str) -> Result<Downloaded, Error> {
        let path = self.path();
        let what = Download {
            url,
            path: &path,
            sha256: Some(HASH),
            bytes: Some(BODY.len() as u64),
        };
        self.client.download(&what, &mut |_| {})
    }

    fn leave_part(&self, bytes: &[u8], tag: Option<&str>) {
        fs::create_dir_all(self.path().parent().unwrap()).unwrap();
        fs::write(self.part(), bytes).unwrap();
        if let Some(tag) = tag {
            fs::write(self.dir.path().join("sub/file.bin.part.tag"), tag).unwrap();
        }
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path().parent().unwrap()).unwrap();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_file_arrives_with_progress_and_nothing_is_left_beside_it() {
    let server = Server::start(vec![Reply::file(BODY)]);
    let bench = Bench::new(None);
    let mut seen = Vec::new();
    let path = bench.path();
    let url = server.url("/f");
    let what = Download {
        url: &url,
        path: &path,
        sha256: Some(HASH),
        bytes: None,
    };
    let done = bench
        .client
        .download(&what, &mut |progress| seen.push((progress.done, progress.total)))
        .unwrap();
    assert_eq!(
        done,
        Downloaded {
            sha256: HASH.to_owned(),
            bytes: 19,
            resumed: 0
        }
    );
    assert_eq!(
        (seen.first().copied(), seen.last().copied()),
        (Some((0, Some(19))), Some((19, Some(19))))
    );
    assert_eq!(fs::read(&path).unwrap(), BODY);
    assert_eq!(bench.files(), ["file.bin"]);
}

#[test]
fn a_cut_body_is_resumed_under_the_same_validator() {
    let replies = vec![
        Reply::file(BODY).tag("\"v1\"").cut(7),
        Reply::file(BODY).tag("\"v1\""),
    ];
    let server = Server::start(replies);
    let bench = Bench::new(None);
    bench.get(&server.url("/f")).unwrap();
    assert_eq!(fs::read(bench.path()).unwrap(), BODY);
    let log = server.log();
    assert!(
        log[1].contains("range: bytes=7-") && log[1].contains("if-range: \"v1\""),
        "{}",
        log[1]
    );
    assert_eq!(*bench.clock.0.lock().unwrap(), [Duration::from_millis(500)]);
}

#[test]
fn a_server_that_ignores_ranges_or_has_a_new_version_starts_over() {
    for reply in [Reply::file(BODY).no_ranges(), Reply::file(BODY).tag("\"v2\"")] {
        let server = Server::start(vec![reply]);
        let bench = Bench::new(None);
        bench.leave_part(b"other f", Some("\"v1\""));
        bench.get(&server.url("/f")).unwrap();
        assert_eq!(fs::read(bench.path()).unwrap(), BODY);
    }
}

#[test]
fn a_damaged_prefix_is_found_by_the_hash_and_fetched_again() {
    let server = Server::start(vec![Reply::file(BODY), Reply::file(BODY)]);
    let bench = Bench::new(None);
    bench.leave_part(b"hxllo", None);
    bench.get(&server.url("/f")).unwrap();
    assert_eq!(fs::read(bench.path()).unwrap(), BODY);
    assert_eq!(server.log().len(), 2);
}

#[test]
fn a_part_that_is_too_long_starts_over_after_416() {
    let server = Server::start(vec![Reply::file(BODY), Reply::file(BODY)]);
    let bench = Bench::new(None);
    bench.leave_part(&[b'x'; 40], None);
    bench.get(&server.url("/f")).unwrap();
    assert_eq!(fs::read(bench.path()).unwrap(), BODY);
}

#[test]
fn a_wrong_file_is_deleted_and_named() {
    let server = Server::start(vec![Reply::file(b"hello over the wirE")]);
    let bench = Bench::new(None);
    let error = bench.get(&server.url("/f?secret=1")).unwrap_err();
    assert_eq!(error.reason(), "hash_mismatch");
    assert!(
        error.to_string().contains(HASH) && !error.to_string().contains("secret"),
        "{error}"
    );
    assert!(bench.files().is_empty(), "{:?}", bench.files());
}

#[test]
fn a_wrong_length_ends_at_once() {
    let server = Server::start(vec![Reply::file(b"short")]);
    let bench = Bench::new(None);
    assert_eq!(bench.get(&server.url("/f")).unwrap_err().reason(), "length");
    assert!(bench.files().is_empty());
    assert!(bench.clock.0.lock().unwrap().is_empty());
}

#[test]
fn a_busy_server_is_asked_again_after_the_delay_it_named() {
    let server = Server::start(vec![
        Reply::status(503, "Retry-After: 3"),
        Reply::status(429, "X: y"),
        Reply::file(BODY),
    ]);
    let bench = Bench::new(None);
    bench.get(&server.url("/f")).unwrap();
    let delays = bench.clock.0.lock().unwrap().clone();
    assert_eq!(delays, [Duration::from_millis(3500), Duration::from_secs(1)]);
}

#[test]
fn a_server_that_always_cuts_keeps_the_part_and_says_so() {
    let server = Server::start(vec![Reply::file(BODY).cut(2); 6]);
    let bench = Bench::new(None);
    let error = bench.get(&server.url("/f")).unwrap_err();
    assert_eq!(error.reason(), "interrupted");
    assert_eq!(fs::read(bench.part()).unwrap(), &BODY[..12]);
    assert!(!bench.path().exists());
}

#[test]
fn missing_forbidden_refused_and_silent_are_told_apart() {
    for (status, reason) in [
        (404, "not_found"),
        (401, "unauthorized"),
        (403, "unauthorized"),
        (400, "status"),
    ] {
        let server = Server::start(vec![Reply::status(status, "X: y")]);
        let bench = Bench::new(None);
        assert_eq!(bench.get(&server.url("/f")).unwrap_err().reason(), reason);
        assert_eq!(server.log().len(), 1, "status {status} must not be asked again");
    }
    let bench = Bench::new(None);
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert_eq!(
        bench.get(&format!("http://{closed}/f")).unwrap_err().reason(),
        "refused"
    );
    assert_eq!(bench.clock.0.lock().unwrap().len(), 5);
    let server = Server::start(vec![Reply::file(BODY).stall(); 6]);
    let bench = Bench::new(None);
    assert_eq!(bench.get(&server.url("/f")).unwrap_err().reason(), "timeout");
    assert_eq!(bench.get("file:///etc/passwd").unwrap_err().reason(), "url");
}

#[test]
fn a_page_in_place_of_the_file_does_not_cost_what_came_before() {
    let page = Reply::file(b"<html>please log in</html>").no_ranges();
    let server = Server::start(vec![page, Reply::file(BODY).tag("\"v1\"")]);
    let bench = Bench::new(None);
    bench.leave_part(&BODY[..7], Some("\"v1\""));
    assert_eq!(bench.get(&server.url("/f")).unwrap_err().reason(), "length");
    assert_eq!(fs::read(bench.part()).unwrap(), &BODY[..7]);
    let done = bench.get(&server.url("/f")).unwrap();
    assert_eq!(done.resumed, 7);
}

#[test]
fn a_compressed_answer_does_not_cost_what_came_before() {
    let packed = Reply::file(BODY).no_ranges().header("Content-Encoding: gzip");
    let server = Server::start(vec![packed]);
    let bench = Bench::new(None);
    bench.leave_part(&BODY[..7], Some("\"v1\""));
    assert_eq!(bench.get(&server.url("/f")).unwrap_err().reason(), "encoding");
    assert_eq!(fs::read(bench.part()).unwrap(), &BODY[..7]);
}

#[test]
fn a_part_longer_than_the_file_is_given_up_without_asking() {
    let server = Server::start(vec![Reply::file(BODY)]);
    let bench = Bench::new(None);
    bench.leave_part(&[b'x'; 40], Some("\"v1\""));
    let done = bench.get(&server.url("/f")).unwrap();
    assert_eq!(done.resumed, 0);
    assert!(!server.log()[0].contains("range"), "{}", server.log()[0]);
}

#[test]
fn a_server_that_honours_range_but_not_if_range_is_found_out() {
    // Without a hash nothing else would notice that two versions were joined.
    let replies = vec![
        Reply::file(BODY).tag("\"v2\"").ignore_if_range(),
        Reply::file(BODY).tag("\"v2\""),
    ];
    let server = Server::start(replies);
    let bench = Bench::new(None);
    bench.leave_part(b"other f", Some("\"v1\""));
    let (path, url) = (bench.path(), server.url("/f"));
    let what = Download {
        url: &url,
        path: &path,
        sha256: None,
        bytes: Some(19),
    };
    bench.client.download(&what, &mut |_| {}).unwrap();
    assert_eq!(fs::read(bench.path()).unwrap(), BODY);
}

#[test]
fn without_hash_and_validator_a_cut_body_starts_over() {
    let server = Server::start(vec![
        Reply::file(b"HELLO OVER THE WIRE").cut(7),
        Reply::file(BODY),
    ]);
    let bench = Bench::new(None);
    let (path, url) = (bench.path(), server.url("/f"));
    let what = Download {
        url: &url,
        path: &path,
        sha256: None,
        bytes: None,
    };
    bench.client.download(&what, &mut |_| {}).unwrap();
    assert_eq!(fs::read(bench.path()).unwrap(), BODY, "two answers were joined");
}

#[test]
fn a_damaged_prefix_is_found_also_after_an_interruption() {
    let replies = vec![Reply::file(BODY).cut(3), Reply::file(BODY), Reply::file(BODY)];
    let server = Server::start(replies);
    let bench = Bench::new(None);
    bench.leave_part(b"hxllo", None);
    let done = bench.get(&server.url("/f")).unwrap();
    assert_eq!((done.resumed, server.log().len()), (0, 3));
    assert_eq!(fs::read(bench.path()).unwrap(), BODY);
}

#[test]
fn a_line_that_keeps_breaking_still_brings_a_large_file() {
    let big: Vec<u8> = (0..10u32 << 20).map(|i| (i % 251) as u8).collect();
    let server = Server::start(vec![Reply::file(&big).tag("\"v\"").cut(1 << 20); 12]);
    let bench = Bench::new(None);
    let (path, url) = (bench.path(), server.url("/f"));
    let what = Download {
        url: &url,
        path: &path,
        sha256: None,
        bytes: Some(10 << 20),
    };
    bench.client.download(&what, &mut |_| {}).unwrap();
    assert!(fs::read(bench.path()).unwrap() == big);
}

static STOP: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

#[test]
fn a_caller_who_wants_to_stop_is_heard_in_the_middle_of_silence() {
    let server = Server::start(vec![Reply::file(BODY).cut(5), Reply::file(BODY).stall()]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let settings = Settings {
        system_proxy: false,
        interrupted: Some(|| STOP.load(std::sync::atomic::Ordering::SeqCst)),
        ..Settings::default()
    };
    let client = Client::with_clock(settings, Arc::new(TestClock::default())).unwrap();
    let url = server.url("/f");
    let what = Download {
        url: &url,
        path: &path,
        sha256: Some(HASH),
        bytes: None,
    };
    let error = client
        .download(&what, &mut |progress| {
            STOP.store(progress.done == 5, std::sync::atomic::Ordering::SeqCst)
        })
        .unwrap_err();
    assert_eq!(error.reason(), "stopped");
    assert!(!path.exists());
    assert_eq!(fs::read(dir.path().join("f.part")).unwrap(), &BODY[..5]);
}

#[test]
fn a_compressed_body_is_named() {
    let server = Server::start(vec![Reply::file(BODY).header("Content-Encoding: gzip")]);
    assert_eq!(
        Bench::new(None).get(&server.url("/f")).unwrap_err().reason(),
        "encoding"
    );
    assert!(server.log()[0].contains("accept-encoding: identity"));
}

#[test]
fn the_token_goes_to_its_own_host_only_and_into_no_message() {
    let other = Server::start(vec![Reply::file(BODY)]);
    let to = format!("Location: {}", other.url("/moved"));
    let home = Server::start(vec![Reply::status(302, &to)]);
    let token = Token::new(home.url(""), "hf_secret");
    assert!(!format!("{token:?}").contains("hf_secret"));
    Bench::new(Some(token)).get(&home.url("/f")).unwrap();
    assert!(
        home.log()[0].contains("authorization: bearer hf_secret"),
        "{}",
        home.log()[0]
    );
    assert!(!other.log()[0].contains("authorization"), "{}", other.log()[0]);

    let echo = Server::start(vec![Reply::status(400, "X: y").body("you sent hf_secret")]);
    let bench = Bench::new(Some(Token::new(echo.url(""), "hf_secret")));
    let error = bench.get(&echo.url("/f")).unwrap_err();
    assert!(error.to_string().contains("you sent ***"), "{error}");
    assert!(!format!("{error:?} {:?}", bench.client).contains("hf_secret"));
}

#[test]
fn redirects_end() {
    let server = Server::start(vec![Reply::status(302, "Location: /f"); 11]);
    assert_eq!(
        Bench::new(None).get(&server.url("/f")).unwrap_err().reason(),
        "redirect"
    );
}

#[test]
fn two_at_once_fetch_once() {
    let server = Server::start(vec![Reply::file(BODY).slow()]);
    let bench = Bench::new(None);
    let url = server.url("/f");
    std::thread::scope(|scope| {
        let calls = [scope.spawn(|| bench.get(&url)), scope.spawn(|| bench.get(&url))];
        for call in calls {
            assert_eq!(call.join().unwrap().unwrap().bytes, 19);
        }
    });
    assert_eq!(server.log().len(), 1);
    assert_eq!(bench.files(), ["file.bin"]);
}
