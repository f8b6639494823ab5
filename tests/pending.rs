//! A service that cannot be had leaves its clips pending and nothing else: the run goes on as far as it can, says what
//! waits, and the next one takes up exactly that.

use crate::{bench, common, kit};
use bench::Bench;
use common::{code, stderr, stdout};
use omni_loopback::{Options, Personality, Rule, Server};
use std::{collections::BTreeSet, process::Output};

/// `caption_ingest` does not need the transcript, `voice_ref` does.
const RECIPE: &str = r#"
name = "chat"
source = "openhumanvid"
stages = ["probe", "transcribe_service", "caption_ingest", "voice_ref"]

[settings.transcribe_service]
probe_sound = false

[run]
shard_clips = 3
"#;

const QUOTA: &str = r#"{"error": {"message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED", "details": [
    {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]}]}}"#;

fn bench(rules: Vec<Rule>) -> Option<Bench> {
    Bench::of(RECIPE, Personality::Vllm, rules, Options::default())
}

/// Some calls are answered, then `rule` decides.
fn after(calls: u64, rule: Rule) -> Vec<Rule> {
    vec![Rule::default().times(calls), rule]
}

const LIVE: [&str; 5] = ["--services", "live", "--limit", "14", "--seed"];

fn live(bench: &Bench, out: &str, more: &[&str]) -> Output {
    bench.run(&[&LIVE[..], &["3", "--out", out], more].concat())
}

fn parts(bench: &Bench, stage: &str) -> usize {
    let files = bench.parts("out", stage);
    files.keys().filter(|name| name.ends_with(".parquet")).count()
}

/// The stages that do not need the service are done, the others as far as there are answers; the closing line is last.
fn assert_pending(bench: &Bench, output: &Output, words: &[&str]) {
    let said = stdout(output);
    assert_eq!(code(output), 5, "{said}{}", stderr(output));
    let summary = kit::json(&bench.scratch.join("out/summary.json"));
    assert_eq!(summary["outcome"], "waiting");
    let waiting = &summary["waiting"][0];
    assert_eq!(
        (&waiting["stage"], &waiting["wait"]["on"]),
        (&"transcribe_service".into(), &"qwen".into())
    );
    let (clips, pending) = (
        waiting["clips"].as_u64().unwrap(),
        summary["pending"].as_u64().unwrap(),
    );
    assert!(clips > 0 && pending >= clips, "{summary}");
    let line = format!("{clips} clip");
    for words in words
        .iter()
        .chain(&[line.as_str(), "pending in transcribe_service, for qwen"])
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    let last = said.lines().last().unwrap();
    assert!(
        last.starts_with(&format!("pending: {pending} clip")) && last.contains("exit code 5"),
        "{last}"
    );
    let shards = kit::json(&bench.scratch.join("out/run.json"))["shards"]
        .as_u64()
        .unwrap() as usize;
    assert_eq!(parts(bench, "caption_ingest"), shards, "other stages go on");
    let heard = parts(bench, "transcribe_service");
    assert!(
        heard < shards && parts(bench, "voice_ref") == heard,
        "{heard} of {shards}"
    );
    assert!(kit::leftovers(&bench.scratch.join("out")).is_empty());
}

/// A run that nothing disturbed, against a server of its own.
fn assert_as_undisturbed(bench: &mut Bench) {
    bench.server = Server::start(Personality::Vllm, vec![]).unwrap();
    let whole = live(bench, "whole", &[]);
    assert_eq!(code(&whole), 0, "{}", stderr(&whole));
    let (out, whole) = (bench.scratch.join("out"), bench.scratch.join("whole"));
    kit::assert_same(&out, &whole);
    assert_eq!(kit::numbers(&out), kit::numbers(&whole));
}

fn answered(bench: &Bench) -> Vec<String> {
    let log = bench.server.log();
    log.into_iter()
        .filter(|seen| seen.status == 200)
        .map(|seen| seen.body_sha256)
        .collect()
}

#[test]
fn a_spent_budget_leaves_the_rest_pending_and_a_larger_one_pays_for_exactly_that() {
    let Some(mut bench) = bench(vec![]) else { return };
    // At most 2048 tokens out at 1000 usd a million: 2.048 usd to book; 58 tokens, 0.058 usd, are paid.
    let price = [
        "--set",
        "settings.transcribe_service.endpoint.usd_per_million_out=1000",
        "--budget",
    ];
    let small = live(&bench, "out", &[&price[..], &["2.4usd"]].concat());
    assert_pending(&bench, &small, &["(budget)", "raise --budget"]);
    let first = answered(&bench);
    // Calls side by side wait for each other's true price instead of giving up.
    assert_eq!(
        first.len(),
        7,
        "0.352 usd of room for bookings are six answers, and the one that leaves too little"
    );
    let again = live(&bench, "out", &[&price[..], &["2.4usd"]].concat());
    assert_pending(&bench, &again, &["(budget)"]);
    assert_eq!(
        answered(&bench).len(),
        first.len(),
        "nothing is paid beyond it, by a later run either"
    );
    let large = live(&bench, "out", &[&price[..], &["50usd"]].concat());
    assert_eq!(code(&large), 0, "{}", stderr(&large));
    let all = answered(&bench);
    assert_eq!(
        all.iter().collect::<BTreeSet<_>>().len(),
        all.len(),
        "asked twice"
    );
    let paid = format!("{:.6}", all.len() as f64 * 0.058);
    assert!(
        stdout(&large).contains(paid.trim_end_matches('0')),
        "{}",
        stdout(&large)
    );
    assert_as_undisturbed(&mut bench);
}

#[test]
fn a_closed_endpoint_leaves_its_clips_pending_and_a_mended_one_is_asked_for_exactly_those() {
    let mut redirect = Rule::status(302, "");
    let elsewhere = ("Location".to_owned(), "http://127.0.0.1:9/".to_owned());
    redirect.say.headers.extend([elsewhere]);
    let rows = [
        (
            Rule::status(401, r#"{"error": "Unauthorized"}"#),
            "is the key right?",
        ),
        (
            Rule::status(404, r#"{"detail": "Not Found"}"#),
            "is the address right?",
        ),
        (Rule::status(429, QUOTA), "the quota of the day"),
        (redirect, "follow no redirect"),
    ];
    for (rule, words) in rows {
        let Some(mut bench) = bench(after(4, rule)) else {
            return;
        };
        let closed = live(&bench, "out", &[]);
        assert_pending(&bench, &closed, &["(closed)", words]);
        let asked = bench.server.log().len();
        assert!(
            (5..=4 + 16).contains(&asked),
            "{asked}: calls in flight, and then none"
        );
        let first = answered(&bench);
        bench.server = Server::start(Personality::Vllm, vec![]).unwrap();
        let mended = live(&bench, "out", &[]);
        assert_eq!(code(&mended), 0, "{}", stderr(&mended));
        let second = answered(&bench);
        assert!(
            first.iter().all(|body| !second.contains(body)),
            "{words}: asked for what was there"
        );
        assert_as_undisturbed(&mut bench);
    }
}

#[test]
fn a_server_that_is_gone_is_given_up_after_the_patience_of_the_recipe() {
    let Some(mut bench) = bench(after(3, Rule::status(503, "down"))) else {
        return;
    };
    let patience = ["--set", "settings.transcribe_service.endpoint.patience=0"];
    let gone = live(&bench, "out", &patience);
    assert_pending(&bench, &gone, &["given up for this run", "is it running?"]);
    let first = answered(&bench);
    bench.server = Server::start(Personality::Vllm, vec![]).unwrap();
    let back = live(&bench, "out", &patience);
    assert_eq!(code(&back), 0, "{}", stderr(&back));
    assert!(answered(&bench).iter().all(|body| !first.contains(body)));
    assert_as_undisturbed(&mut bench);
}
