//! Stages over services, as a user runs them, against the loopback server: recording and replay, one bad answer for each
//! rule, a wrong key, a budget, kills.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop"
)]

mod common;
mod kit;

use common::{Scratch, code, stderr, stdout};
use omni_loopback::{Options, Personality, Rule, Server};
use std::{collections::BTreeMap, fs, path::Path, process::Output, time::Duration};

const KEY: &str = "sk-test-0123456789";

/// A recipe of two stages that needs no network.
const CHAT: &str = r#"
name = "chat"
source = "openhumanvid"
stages = ["probe", "transcribe_service"]
"#;

struct Bench {
    scratch: Scratch,
    root: String,
    server: Server,
}

impl Bench {
    fn new(personality: Personality, rules: Vec<Rule>, options: Options) -> Option<Bench> {
        let root = kit::sample()?.to_str().unwrap().to_owned();
        let scratch = Scratch::new();
        scratch.write("chat.toml", CHAT);
        let server = Server::with_options(personality, rules, options).unwrap();
        Some(Bench {
            scratch,
            root,
            server,
        })
    }

    fn chat(rules: Vec<Rule>) -> Option<Bench> {
        Bench::new(Personality::Vllm, rules, Options::default())
    }

    /// `omni curate` on the recipe, with the server's address.
    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// One clip, always the same, asked live.
    fn one(&self) -> Output {
        self.run(&[
            "--services",
            "live",
            "--out",
            "out",
            "--limit",
            "1",
            "--seed",
            "1",
        ])
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let url = format!("settings.transcribe_service.endpoint.url={}", self.server.url());
        let recipe = [
            "curate",
            "--recipe",
            "chat.toml",
            "--root",
            &self.root,
            "--set",
            &url,
        ];
        let mut command = self.scratch.command(&[&recipe, args].concat());
        command.env("NO_PROXY", "127.0.0.1");
        command
    }

    /// Files below a folder of the output, by name without the folder's own.
    fn parts(&self, out: &str, stage: &str) -> BTreeMap<String, Vec<u8>> {
        let folders = fs::read_dir(self.scratch.join(out))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mine = folders.filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(&format!("{stage}-"))
        });
        let files = mine.flat_map(|folder| fs::read_dir(folder).unwrap());
        files
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (
                    path.file_name().unwrap().to_str().unwrap().to_owned(),
                    fs::read(path).unwrap(),
                )
            })
            .collect()
    }
}

fn everything(folder: &Path, each: &mut dyn FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => everything(&path, each),
            false => each(&path, &fs::read(&path).unwrap()),
        }
    }
}

#[test]
fn a_live_run_records_what_a_replay_needs_and_the_key_stands_nowhere() {
    let options = Options {
        key: Some(KEY.into()),
        ..Options::default()
    };
    let Some(bench) = Bench::new(Personality::Vllm, vec![], options) else {
        return;
    };
    let live = [
        "--services",
        "live",
        "--out",
        "out",
        "--set",
        "settings.transcribe_service.endpoint.key_env=OMNI_TEST_KEY",
    ];
    let first = bench.command(&live).env("OMNI_TEST_KEY", KEY).output().unwrap();
    assert_eq!(code(&first), 0, "{}", stderr(&first));
    let asked = bench.server.log().len();
    assert!(asked > 0 && bench.server.log().iter().all(|seen| seen.status == 200));
    let made = bench.parts("out", "transcribe_service");
    assert!(!made.is_empty());

    // The parts are lost, the answers are not: nothing is asked again, and the parts come out equal.
    for entry in fs::read_dir(bench.scratch.join("out")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("transcribe_service-")
        {
            fs::remove_dir_all(path).unwrap();
        }
    }
    let again = bench.command(&live).env("OMNI_TEST_KEY", KEY).output().unwrap();
    assert_eq!(code(&again), 0, "{}", stderr(&again));
    assert!(bench.parts("out", "transcribe_service") == made);
    assert_eq!(bench.server.log().len(), asked);

    // Neither a key nor a server is needed for a replay.
    let replay = bench.run(&["--services", "replay:out/replies", "--out", "replayed"]);
    assert_eq!(code(&replay), 0, "{}", stderr(&replay));
    assert!(
        bench.parts("replayed", "transcribe_service") == made,
        "byte for byte"
    );
    assert_eq!(bench.server.log().len(), asked);

    let mut said = [&first, &again, &replay]
        .map(|output| stdout(output) + &stderr(output))
        .concat();
    said.push_str(&format!("{:?}", bench.server.log()));
    assert!(!said.contains(KEY));
    everything(bench.scratch.path(), &mut |path, bytes| {
        assert!(
            !bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes()),
            "{}",
            path.display()
        );
    });
}

#[test]
fn one_bad_answer_for_each_rule_is_asked_again_once_and_then_dropped_by_its_name() {
    let rows = [
        ("cut", "truncated"),
        ("null_content", "no_content"),
        ("no_choices", "no_choice"),
        ("not_json", "not_json"),
        ("two_objects", "two_objects"),
        ("missing_field", "schema"),
        ("clock_times", "schema"),
        ("reversed_times", "times_reversed"),
        ("beyond_clip", "beyond_clip"),
        ("overlap", "overlap"),
        ("language_word", "language"),
        ("two_names", "two_names"),
        ("repeated", "repetition"),
        ("deaf", "not_heard"),
    ];
    for (canned, reason) in rows {
        let Some(bench) = Bench::chat(vec![Rule::canned(canned)]) else {
            return;
        };
        let dropped = bench.one();
        let table = stdout(&dropped);
        assert!(
            table.contains(&format!("dropped: rejected:{reason}")),
            "{canned}: {table}{}",
            stderr(&dropped)
        );
        assert_eq!(bench.server.log().len(), 2, "{canned}: one re-ask");
        // The second question holds the reason, so it is another request; a sound answer to it is taken.
        let mended = Bench::chat(vec![Rule::canned(canned).times(1)]).unwrap();
        let kept = mended.one();
        assert!(!stdout(&kept).contains("rejected"), "{canned}: {}", stdout(&kept));
        assert_eq!(mended.server.log().len(), 2);
    }
}

#[test]
fn fenced_and_talkative_answers_are_read_and_silence_is_believed_the_second_time() {
    for (canned, requests) in [
        ("fence", 1),
        ("prose", 1),
        ("two_choices", 1),
        ("empty_segments", 2),
    ] {
        let Some(bench) = Bench::chat(vec![Rule::canned(canned)]) else {
            return;
        };
        let output = bench.one();
        assert!(
            code(&output) == 0 && !stdout(&output).contains("rejected"),
            "{canned}: {}",
            stdout(&output)
        );
        assert_eq!(bench.server.log().len(), requests, "{canned}");
    }
}

#[test]
fn a_fallback_model_is_asked_when_two_answers_cannot_be_used() {
    let Some(bench) = Bench::chat(vec![Rule::canned("not_json").containing("first/model")]) else {
        return;
    };
    let models = [
        "settings.transcribe_service.model=first/model",
        "settings.transcribe_service.fallback_model=second/model",
    ];
    let output = bench.run(&[
        "--services",
        "live",
        "--out",
        "out",
        "--limit",
        "1",
        "--seed",
        "1",
        "--set",
        models[0],
        "--set",
        models[1],
    ]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(bench.server.log().len(), 3);
    let origin = kit::rows(&bench.scratch, "out", "transcript")[0]["origin"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(origin.contains("second/model"), "{origin}");
}

#[test]
fn a_wrong_key_leaves_everything_pending_after_one_request() {
    let options = Options {
        key: Some(KEY.into()),
        ..Options::default()
    };
    let Some(bench) = Bench::new(Personality::Vllm, vec![], options) else {
        return;
    };
    let output = bench.run(&[
        "--services",
        "live",
        "--out",
        "out",
        "--threads",
        "1",
        "--set",
        "settings.transcribe_service.endpoint.in_flight=1",
    ]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("is the key right?"),
        "{}",
        stderr(&output)
    );
    assert_eq!(bench.server.log().len(), 1);
    assert!(
        bench.parts("out", "transcribe_service").is_empty(),
        "no part, so the clips are pending"
    );
}

#[test]
fn a_budget_stops_the_run_and_a_larger_one_goes_on_from_there() {
    let Some(bench) = Bench::chat(vec![]) else { return };
    // At most 2048 tokens out at 1000 usd a million: 2.048 usd to book; 58 tokens, 0.058 usd, are paid.
    let price = "settings.transcribe_service.endpoint.usd_per_million_out=1000";
    let base = [
        "--services",
        "live",
        "--out",
        "out",
        "--set",
        price,
        "--set",
        "settings.transcribe_service.endpoint.in_flight=1",
    ];
    let small = bench.run(&[&base[..], &["--budget", "2.1usd"]].concat());
    assert_eq!(code(&small), 1, "{}", stdout(&small));
    assert!(stderr(&small).contains("--budget"), "{}", stderr(&small));
    let asked = bench.server.log().len();
    assert!((1..3).contains(&asked), "{asked} calls");
    let large = bench.run(&[&base[..], &["--budget", "50usd"]].concat());
    assert_eq!(code(&large), 0, "{}", stderr(&large));
    let calls = bench.server.log().len() as f64;
    assert!(
        stdout(&large).contains(&format!("{:.6}", calls * 0.058).trim_end_matches('0').to_owned()),
        "{}",
        stdout(&large)
    );
}

#[test]
fn a_dry_run_tells_calls_tokens_and_the_bill_and_calls_nobody() {
    let Some(bench) = Bench::chat(vec![]) else { return };
    let price = "settings.transcribe_service.endpoint.usd_per_million_out=1000";
    let dry = bench.run(&["--services", "live", "--out", "out", "--set", price, "--dry-run"]);
    let text = stdout(&dry);
    assert!(
        code(&dry) == 0 && text.contains("2048 a clip") && text.contains("2.048000 usd a clip"),
        "{text}"
    );
    assert!(bench.server.log().is_empty() && !bench.scratch.join("out").exists());
}

#[test]
fn services_must_be_asked_for_and_wrong_words_are_named() {
    let Some(bench) = Bench::chat(vec![]) else { return };
    let rows: [(&[&str], i32, &str); 7] = [
        (&[], 2, "--services live"),
        (&["--services", "cloud"], 2, "replay:DIR"),
        (&["--services", "replay:nowhere"], 3, "nowhere"),
        (&["--services", "live", "--budget", "50"], 2, "50usd"),
        (&["--budget", "50usd"], 2, "--services live"),
        (
            &[
                "--services",
                "live",
                "--set",
                "settings.transcribe_service.api=telepathy",
            ],
            2,
            "chat or transcription",
        ),
        (
            &[
                "--services",
                "live",
                "--set",
                "settings.transcribe_service.endpoint.in_flight=0",
            ],
            2,
            "in_flight",
        ),
    ];
    for (args, wanted, part) in rows {
        let output = bench.run(&[args, &["--out", "out"]].concat());
        let said = stderr(&output);
        assert!(
            code(&output) == wanted && said.contains(part),
            "{args:?}: {} {said}",
            code(&output)
        );
    }
    assert!(bench.server.log().is_empty());
}

#[test]
fn canned_answers_never_pass_for_real_ones() {
    let Some(bench) = Bench::chat(vec![]) else { return };
    let canned = bench.run(&["--services", "loopback", "--out", "out"]);
    assert!(
        code(&canned) == 0 && stdout(&canned).contains("canned"),
        "{}",
        stderr(&canned)
    );
    assert!(bench.server.log().is_empty());
    let live = bench.run(&["--services", "live", "--out", "out"]);
    assert_eq!(code(&live), 0, "{}", stderr(&live));
    assert!(
        !bench.server.log().is_empty(),
        "the canned parts were taken for done"
    );
}

#[test]
fn kills_in_the_service_stage_lose_nothing_and_stay_within_the_bound() {
    const IN_FLIGHT: usize = 4;
    let options = Options {
        work: Duration::from_millis(150),
        ..Options::default()
    };
    let Some(bench) = Bench::new(Personality::Vllm, vec![], options) else {
        return;
    };
    let bound = format!("settings.transcribe_service.endpoint.in_flight={IN_FLIGHT}");
    let args = ["--services", "live", "--out", "out", "--set", &bound];
    let mut kills = 0;
    for _ in 0..3 {
        let before = bench.server.log().len();
        let mut child = bench.command(&args).spawn().unwrap();
        while bench.server.log().len() <= before && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        kills += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = bench.run(&args);
    assert_eq!(code(&last), 0, "{}", stderr(&last));
    let log = bench.server.log();
    // Clips of one sound share a request.
    let mut by_body: BTreeMap<&str, usize> = BTreeMap::new();
    log.iter()
        .for_each(|seen| *by_body.entry(&seen.body_sha256).or_default() += 1);
    let repeats = log.len() - by_body.len();
    assert!(
        kills > 0 && repeats <= kills * IN_FLIGHT,
        "{repeats} repeats after {kills} kills"
    );
    // What came of it is what a run in one go makes, and every answer of that is in the log.
    let whole = bench.run(&[
        "--services",
        "replay:out/replies",
        "--out",
        "whole",
        "--set",
        &bound,
    ]);
    assert_eq!(code(&whole), 0, "{}", stderr(&whole));
    assert!(bench.parts("whole", "transcribe_service") == bench.parts("out", "transcribe_service"));
}

#[test]
fn a_voice_is_spoken_anew_or_marked_as_the_source() {
    let Some(root) = kit::sample() else { return };
    let scratch = Scratch::new();
    scratch.write(
        "voices.toml",
        "name = 'v'\nsource = 'openhumanvid'\nstages = ['probe', 'transcribe_service', 'voice_resynth']\n",
    );
    let base = [
        "--recipe",
        "voices.toml",
        "--root",
        root.to_str().unwrap(),
        "--services",
        "loopback",
        "--limit",
        "4",
    ];
    let taken = [
        "--set",
        "settings.voice_resynth.min_similarity=-1",
        "--set",
        "settings.voice_resynth.trusted=[]",
    ];
    kit::curate(&scratch, &[&base[..], &["--out", "taken"], &taken].concat());
    let rows = kit::rows(&scratch, "taken", "voice_ref");
    assert!(!rows.is_empty());
    for row in rows {
        assert_eq!(row["origin"], "resynthesised");
        assert!(row["similarity"].is_f64() && row["word_errors"].is_f64(), "{row}");
        assert!(
            row["text"] != "Come in." && row["audio"]["length"].as_i64().unwrap() > 24_000,
            "{row}"
        );
    }
    // The canned tone is nobody's voice: all tries fail, and the row says what the reference is.
    kit::curate(&scratch, &[&base[..], &["--out", "refused"]].concat());
    for row in kit::rows(&scratch, "refused", "voice_ref") {
        assert_eq!(
            (row["origin"].as_str(), row["text"].as_str()),
            (Some("source_segment"), Some("Come in."))
        );
        assert!(row["similarity"].is_null());
    }
}
