//! Cache, circuit, rates, calls in flight, budget, keys and replay, through the real client and real sockets.

use crate::kit;
use std::fs;
use std::time::Duration;

use kit::{TestClock, Wants, bench, bench_on, chat};
use omni_loopback::{Limiter, Options, Personality, Rule, Server};
use omni_net::service::{
    Auth, Budget, Call, Limits, Money, Price, Rates, Replay, Secret, ServiceError, Transport, Usage,
};

fn server(rules: Vec<Rule>, work: u64) -> Server {
    let options = Options {
        work: Duration::from_millis(work),
        ..Options::default()
    };
    Server::with_options(Personality::Vllm, rules, options).unwrap()
}

#[test]
fn an_answer_on_disk_is_never_asked_for_again() {
    let server = server(vec![], 0);
    let dir = tempfile::tempdir().unwrap();
    let first = bench(dir.path(), &server.url(), Wants::default());
    let answer = first.stack.send(&chat("x")).unwrap();
    assert_eq!(first.stack.send(&chat("x")).unwrap(), answer);
    drop(first);
    let wants = Wants {
        worker: "later",
        ..Wants::default()
    };
    let later = bench(dir.path(), "http://127.0.0.1:9", wants);
    assert_eq!(
        later.stack.send(&chat("x")).unwrap(),
        answer,
        "no server is needed, whatever its address"
    );
    assert_eq!(server.log().len(), 1);
}

#[test]
fn equal_calls_at_once_are_one_request() {
    let server = server(vec![], 50);
    let dir = tempfile::tempdir().unwrap();
    let bench = bench(dir.path(), &server.url(), Wants::default());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| bench.stack.send(&chat("same")).unwrap());
        }
    });
    assert_eq!(server.log().len(), 1);
    assert_eq!(bench.log.counts().from_disk, 7);
}

#[test]
fn never_more_calls_in_flight_than_allowed() {
    let server = server(vec![], 15);
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        in_flight: 3,
        ..Limits::default()
    };
    let bench = bench(
        dir.path(),
        &server.url(),
        Wants {
            limits,
            ..Wants::default()
        },
    );
    std::thread::scope(|scope| {
        for thread in 0..12 {
            let stack = &bench.stack;
            scope.spawn(move || {
                (0..3).for_each(|n| drop(stack.send(&chat(&format!("{thread}-{n}"))).unwrap()))
            });
        }
    });
    let most = server.log().iter().map(|seen| seen.in_flight).max();
    assert_eq!((server.log().len(), most), (36, Some(3)));
}

#[test]
fn ten_failures_open_the_circuit_for_thirty_seconds_and_one_call_tries_it() {
    let server = server(vec![Rule::status(503, "down").times(12)], 20);
    let dir = tempfile::tempdir().unwrap();
    let bench = bench(dir.path(), &server.url(), Wants::default());
    let one = bench.stack.send(&chat("one")).unwrap_err();
    assert!(
        matches!(one, ServiceError::Exhausted { alive: false, .. }),
        "{one:?}"
    );
    // The tenth failure opens the circuit; the two tries that are left find it half-open, and fail.
    let two = bench.stack.send(&chat("two")).unwrap_err();
    assert!(
        matches!(two, ServiceError::Exhausted { alive: false, .. }),
        "{two:?}"
    );
    assert!(bench.clock.passed() >= Duration::from_secs(60));
    let before = bench.clock.passed();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let stack = &bench.stack;
            scope.spawn(move || stack.send(&chat(&format!("thread {thread}"))).unwrap());
        }
    });
    assert!(bench.clock.passed() - before >= Duration::from_secs(30));
    let log = server.log();
    let probe = log.iter().find(|seen| seen.status == 200).unwrap();
    assert_eq!(probe.in_flight, 1, "a half-open circuit lets one call through");
}

#[test]
fn the_rates_hold_on_the_clock() {
    let server = server(vec![], 0);
    let rates = [
        (
            Limits {
                requests_per_minute: 60.0,
                ..Limits::default()
            },
            0,
            40,
            30.0,
        ),
        (
            Limits {
                tokens_per_minute: 6000.0,
                ..Limits::default()
            },
            500,
            10,
            40.0,
        ),
    ];
    for (limits, tokens, calls, least) in rates {
        let dir = tempfile::tempdir().unwrap();
        let bench = bench(
            dir.path(),
            &server.url(),
            Wants {
                limits,
                ..Wants::default()
            },
        );
        for n in 0..calls {
            bench
                .stack
                .send(&Call {
                    tokens,
                    ..chat(&format!("{tokens}-{n}"))
                })
                .unwrap();
        }
        let passed = bench.clock.passed().as_secs_f64();
        assert!(
            (least - 1.0..least + 8.0).contains(&passed),
            "{passed} s for {calls} calls"
        );
    }
}

#[test]
fn a_server_that_counts_is_obeyed() {
    let clock = TestClock::start();
    let time = clock.clone();
    let limiter = Limiter {
        per_second: 5,
        retry_after: Some(1),
        now: Box::new(move || time.passed()),
    };
    let options = Options {
        limiter: Some(limiter),
        ..Options::default()
    };
    let server = Server::with_options(Personality::Vllm, vec![], options).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let bench = bench_on(clock, dir.path(), &server.url(), Wants::default());
    for n in 0..23 {
        bench.stack.send(&chat(&n.to_string())).unwrap();
    }
    let log = server.log();
    let (good, refused) = log
        .iter()
        .fold((0, 0), |(good, refused), seen| match seen.status {
            200 => (good + 1, refused),
            429 => (good, refused + 1),
            other => panic!("{other}"),
        });
    assert_eq!((good, refused), (23, 4), "one 429 for each second that was full");
    assert!(bench.clock.passed() >= Duration::from_secs(4));
}

/// A call that may cost ten cents and does cost four.
fn priced(text: &str) -> Call {
    fn used(body: &[u8]) -> Option<Usage> {
        let value: serde_json::Value = serde_json::from_slice(body).ok()?;
        Some(Usage {
            input: value["usage"]["prompt_tokens"].as_u64()?,
            ..Usage::default()
        })
    }
    let rates = Rates {
        input_per_million: 0.04 / 812.0 * 1e6,
        ..Rates::default()
    };
    let most = Usage {
        input: 2030,
        ..Usage::default()
    };
    Call {
        price: Price {
            rates,
            most,
            read: Some(used),
        },
        ..chat(text)
    }
}

#[test]
fn the_budget_is_never_passed_and_the_rest_stays_pending() {
    let server = server(vec![Rule::status(500, "boom").every(3)], 5);
    let dir = tempfile::tempdir().unwrap();
    let wants = Wants {
        budget: Budget::new("1usd".parse().unwrap(), 1, Money(0)),
        ..Wants::default()
    };
    let first = bench(dir.path(), &server.url(), wants);
    let refused = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (first, refused) = (&first, &refused);
            scope.spawn(move || {
                for n in 0..10 {
                    match first.stack.send(&priced(&format!("{thread}-{n}"))) {
                        Ok(_) => {}
                        Err(error @ ServiceError::Budget { .. }) => {
                            assert!(error.is_pending());
                            refused.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        }
                        Err(error) => panic!("{error}"),
                    }
                    assert!(first.budget.taken() <= Money(1_000_000));
                }
            });
        }
    });
    let good = server.log().iter().filter(|seen| seen.status == 200).count() as u64;
    let paid = first.budget.taken();
    assert!(
        (good * 40_000..=good * 40_001).contains(&paid.0),
        "{paid} for {good}"
    );
    assert!(paid > Money(860_000) && refused.load(std::sync::atomic::Ordering::SeqCst) + good == 40);
    drop(first);
    let again = bench(
        dir.path(),
        &server.url(),
        Wants {
            worker: "again",
            ..Wants::default()
        },
    );
    assert_eq!(again.log.spent(), paid, "a later run knows what was paid");
}

#[test]
fn the_key_is_sent_and_stands_nowhere() {
    const KEY: &str = "sk-very-secret-0123";
    for (name, auth) in [
        ("authorization", Auth::Bearer(Secret::new(KEY))),
        ("x-goog-api-key", Auth::Header("x-goog-api-key", Secret::new(KEY))),
    ] {
        let echo = format!("you sent {KEY}");
        let elsewhere = Server::start(Personality::Vllm, vec![]).unwrap();
        let rules = vec![
            Rule::status(400, &echo).containing("echo"),
            Rule::status(403, &echo).containing("forbidden"),
            Rule::fault(omni_loopback::Fault::Redirect(elsewhere.url())).containing("moved"),
        ];
        let options = Options {
            key: Some(KEY.into()),
            ..Options::default()
        };
        let server = Server::with_options(Personality::Vllm, rules, options).unwrap();
        let mut said = String::new();
        let dir = tempfile::tempdir().unwrap();
        for (n, text) in ["good", "echo", "forbidden", "moved"].iter().enumerate() {
            let wants = Wants {
                auth: auth.clone(),
                worker: ["a", "b", "c", "d"][n],
                ..Wants::default()
            };
            let bench = bench(dir.path(), &server.url(), wants);
            let result = bench.stack.send(&chat(text));
            said.push_str(&format!(
                "{result:?} {}",
                result.as_ref().err().map(ToString::to_string).unwrap_or_default()
            ));
        }
        said.push_str(&format!("{auth:?} {:?}", server.log()));
        assert!(
            said.contains("you sent ***") && said.contains("follow no redirect"),
            "{said}"
        );
        assert!(!said.contains(KEY), "{said}");
        assert!(
            server
                .log()
                .iter()
                .all(|seen| seen.headers.iter().any(|header| header == name))
        );
        assert!(elsewhere.log().is_empty(), "a redirect is not followed");
        for entry in fs::read_dir(dir.path()).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes()));
        }
    }
}

#[test]
fn a_key_in_the_address_or_with_a_line_break_is_refused_unseen() {
    let make = |url: &str, key: &str| {
        let auth = Auth::Bearer(Secret::new(key));
        let settings = omni_net::service::HttpSettings {
            auth,
            ..omni_net::service::HttpSettings::new("test", url)
        };
        omni_net::service::Http::new(settings).unwrap_err().to_string()
    };
    let shown = [
        make("http://user:sk-secret@host", ""),
        make("http://host", "sk-secret\nx"),
        make("ftp://sk-secret", ""),
    ];
    assert!(shown[0].contains("name or password"), "{shown:?}");
    assert!(shown[1].contains("no header may hold"), "{shown:?}");
    assert!(!shown[..2].concat().contains("sk-secret"), "{shown:?}");
}

#[test]
fn a_replay_gives_the_same_ends_and_never_calls() {
    let server = server(vec![Rule::status(400, "no").containing("bad")], 0);
    let dir = tempfile::tempdir().unwrap();
    let live = bench(dir.path(), &server.url(), Wants::default());
    let good = live.stack.send(&chat("good")).unwrap();
    let bad = live.stack.send(&chat("bad")).unwrap_err().to_string();
    drop(live);
    let files = |path: &std::path::Path| fs::read_dir(path).unwrap().count();
    let before = files(dir.path());
    let replay = Replay::open(dir.path()).unwrap();
    assert_eq!(replay.send(&chat("good")).unwrap(), good);
    assert_eq!(replay.send(&chat("bad")).unwrap_err().to_string(), bad);
    let missing = replay.send(&chat("never asked")).unwrap_err();
    assert!(
        matches!(missing, ServiceError::NotRecorded { .. }) && missing.is_pending(),
        "{missing}"
    );
    assert_eq!((files(dir.path()), server.log().len()), (before, 2));
    // A live run asks again for what was refused: the server may have been set right.
    let wants = Wants {
        worker: "again",
        ..Wants::default()
    };
    let again = bench(dir.path(), &server.url(), wants);
    assert!(again.stack.send(&chat("bad")).is_err());
    assert_eq!(server.log().len(), 3);
}
