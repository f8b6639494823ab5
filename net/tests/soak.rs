//! Many calls with a tenth of them failing, and real kills in the middle of calls.
//!
//! 500 items; `OMNI_SOAK=1`: 20 000.

use crate::kit;
use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kit::{Wants, bench, chat};
use omni_loopback::{Fault, Options, Personality, Rule, Seen, Server};
use omni_net::service::{ReplyLog, ServiceError, Share, Transport};

const THREADS: u64 = 8;

fn items() -> u64 {
    match std::env::var_os("OMNI_SOAK") {
        Some(_) => 20_000,
        None => 500,
    }
}

/// About a tenth of the requests fail: statuses that cost nothing, and connections that end before, in and behind the
/// head of an answer.
fn faults() -> Vec<Rule> {
    vec![
        Rule::status(503, "busy").every(97),
        Rule::status(429, "slow down")
            .header("Retry-After", "1")
            .every(67),
        Rule::fault(Fault::CloseBeforeHead).every(71),
        Rule::fault(Fault::CloseAfterHead).every(73),
        Rule::fault(Fault::CloseMidChunk).every(79),
        Rule::fault(Fault::NoEndMark).every(83),
        Rule::fault(Fault::WrongLength(7)).every(89),
        Rule::status(500, "boom").every(61),
    ]
}

/// Resident memory, KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How often the server began an answer with status 200, by request.
fn begun(log: &[Seen], into: &mut HashMap<String, u64>) {
    for seen in log.iter().filter(|seen| seen.status == 200) {
        *into.entry(seen.body_sha256.clone()).or_default() += 1;
    }
}

fn repeats(begun: &HashMap<String, u64>) -> u64 {
    begun.values().map(|count| count - 1).sum()
}

#[test]
fn every_item_gets_exactly_one_answer_and_memory_stays_flat() {
    let server = Server::start(Personality::Vllm, faults()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let bench = bench(dir.path(), &server.url(), Wants::default());
    let mut begun_by = HashMap::new();
    let (mut requests, mut memory) = (0, Vec::new());
    let step = items() / 10;
    for round in 0..10 {
        let next = AtomicU64::new(round * step);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    loop {
                        let item = next.fetch_add(1, Ordering::SeqCst);
                        if item >= (round + 1) * step {
                            return;
                        }
                        let reply = loop {
                            match bench.stack.send(&chat(&format!("clip {item}"))) {
                                Ok(reply) => break reply,
                                // Six failures in a row befall one item in a million: a later run asks again.
                                Err(ServiceError::Exhausted { .. }) => {}
                                Err(error) => panic!("{error}"),
                            }
                        };
                        assert!(reply.body.ends_with(b"}"), "a whole answer");
                    }
                });
            }
        });
        let log = server.take_log();
        requests += log.len() as u64;
        begun(&log, &mut begun_by);
        memory.push(resident());
    }
    let counts = bench.log.counts();
    assert_eq!((counts.answered, begun_by.len() as u64), (items(), items()));
    assert_eq!(counts.sent, requests);
    let failed = requests - items();
    assert!(failed * 100 / requests >= 8, "{failed} of {requests} failed");
    assert!(
        repeats(&begun_by) <= counts.possibly_paid_twice,
        "{} > {}",
        repeats(&begun_by),
        counts.possibly_paid_twice
    );
    // After the first tenth only the index grows: well below a kilobyte an item.
    let grown = memory[9].saturating_sub(memory[0]);
    println!(
        "{} items, {requests} requests, {} repeats, {counts:?}, {} -> {} KiB",
        items(),
        repeats(&begun_by),
        memory[0],
        memory[9]
    );
    assert!(grown <= (8 << 10) + items() / 2, "{memory:?}");
    drop(bench);
    let later = ReplyLog::open(dir.path(), "later", Share::default()).unwrap();
    assert_eq!(later.possibly_paid_twice(), counts.possibly_paid_twice);
}

/// The work of a child process; no test of its own.
#[test]
#[ignore = "the child of the test below"]
fn child() {
    let value = |name: &str| std::env::var(name).unwrap();
    let worker = value("OMNI_TEST_WORKER");
    let wants = Wants {
        worker: &worker,
        ..Wants::default()
    };
    let bench = bench(
        Path::new(&value("OMNI_TEST_FOLDER")),
        &value("OMNI_TEST_URL"),
        wants,
    );
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let item = next.fetch_add(1, Ordering::SeqCst);
                    if item >= 400 {
                        return;
                    }
                    bench.stack.send(&chat(&format!("clip {item}"))).unwrap();
                }
            });
        }
    });
}

fn start_child(folder: &Path, url: &str, run: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "soak::child", "--ignored"])
        .env("OMNI_TEST_FOLDER", folder)
        .env("OMNI_TEST_URL", url)
        .env("OMNI_TEST_WORKER", format!("w{run}"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn kills_in_the_middle_of_calls_cost_at_most_the_calls_in_flight() {
    const KILLS: usize = 8;
    let options = Options {
        work: Duration::from_millis(8),
        ..Options::default()
    };
    let server = Server::with_options(Personality::Vllm, vec![], options).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for run in 0..KILLS {
        let before = server.log().len();
        let mut child = start_child(dir.path(), &server.url(), run);
        // SIGKILL after some more requests than the last time, while others are out.
        while server.log().len() < before + 17 + 5 * run {
            assert!(
                child.try_wait().unwrap().is_none(),
                "the child ended before its kill"
            );
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(
        start_child(dir.path(), &server.url(), KILLS)
            .wait()
            .unwrap()
            .success()
    );
    let mut begun_by = HashMap::new();
    begun(&server.log(), &mut begun_by);
    let log = ReplyLog::open(dir.path(), "after", Share::default()).unwrap();
    let (repeats, counted) = (repeats(&begun_by), log.possibly_paid_twice());
    println!("{KILLS} kills, {repeats} repeats, {counted} counted as possibly paid twice");
    assert_eq!(begun_by.len(), 400, "nothing is lost");
    assert!(
        repeats <= counted && counted <= KILLS as u64 * THREADS,
        "{repeats} repeats, {counted} counted"
    );
    assert!(counted > 0, "no kill met a call in flight");
}
