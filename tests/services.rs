//! Stages over services, as a user runs them, against the loopback server: recording and replay, one bad answer for each
//! rule, a wrong key, a budget, kills.

use crate::{bench, common, kit};
use bench::Bench;
use common::{Scratch, code, stderr, stdout};
use omni_loopback::{Options, Personality, Rule, Server};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};

const KEY: &str = "sk-test-0123456789";

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
fn a_replay_of_canned_answers_is_as_canned_as_they_were() {
    let Some(bench) = Bench::chat(Vec::new()) else {
        return;
    };
    let run = |services: &str, out: &str| {
        let output = bench.run(&[
            "--services",
            services,
            "--out",
            out,
            "--limit",
            "1",
            "--seed",
            "1",
        ]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let names = fs::read_dir(bench.scratch.join(out)).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let stage = names
            .filter(|name| name.starts_with("transcribe_service-"))
            .collect::<Vec<_>>();
        (stage, bench.parts(out, "transcribe_service"))
    };
    let canned = run("loopback", "out");
    assert_eq!(run("replay:out/replies-loopback", "again"), canned);
    assert_ne!(
        run("live", "live").0,
        canned.0,
        "live answers have another fingerprint"
    );
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
    assert_eq!(code(&output), 5);
    assert!(
        stdout(&output).contains("is the key right?"),
        "{}",
        stdout(&output)
    );
    assert_eq!(bench.server.log().len(), 1);
    assert!(
        bench.parts("out", "transcribe_service").is_empty(),
        "no part, so the clips are pending"
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

/// Both services live, against servers of this test's.
#[test]
fn a_replay_speaks_with_the_voices_of_the_live_run() {
    let recipe =
        "name = 'v'\nsource = 'openhumanvid'\nstages = ['probe', 'transcribe_service', 'voice_resynth']\n";
    let Some(bench) = Bench::of(recipe, Personality::Vllm, vec![], Options::default()) else {
        return;
    };
    let voices = Server::start(Personality::Cosyvoice, vec![]).unwrap();
    let url = format!("settings.voice_resynth.endpoint.url={}", voices.url());
    let base = [
        "--limit",
        "4",
        "--set",
        &url,
        "--set",
        "settings.voice_resynth.min_similarity=-1",
        "--set",
        "settings.voice_resynth.trusted=[]",
    ];
    let live = bench.run(&[&base[..], &["--services", "live", "--out", "out"]].concat());
    assert_eq!(code(&live), 0, "{}", stderr(&live));
    let asked = (bench.server.log().len(), voices.log().len());
    assert!(asked.0 > 0 && asked.1 > 0);
    let replay = ["--services", "replay:out/replies", "--out", "replayed"];
    let replay = bench.run(&[&base[..], &replay].concat());
    assert_eq!(code(&replay), 0, "{}", stderr(&replay));
    assert_eq!(
        (bench.server.log().len(), voices.log().len()),
        asked,
        "nobody is called"
    );
    kit::assert_same(&bench.scratch.join("replayed"), &bench.scratch.join("out"));
    let rows = kit::rows(&bench.scratch, "replayed", "voice_ref");
    assert!(!rows.is_empty() && rows.iter().all(|row| row["origin"] == "resynthesised"));
    // A sound that is not in the recording is no call either: the run says which is missing.
    let other = bench.run(
        &[
            &base[..],
            &["--services", "replay:out/replies", "--out", "other"],
            &["--set", "settings.voice_resynth.prefix=x<|endofprompt|>"],
        ]
        .concat(),
    );
    assert!(
        code(&other) == 1 && stderr(&other).contains("no recorded answer"),
        "{}",
        stderr(&other)
    );
    assert_eq!(voices.log().len(), asked.1);
}

#[test]
fn a_transcription_endpoint_gives_the_words_and_the_diariser_the_speakers() {
    let Some(bench) = Bench::new(Personality::Whisper, vec![], Options::default()) else {
        return;
    };
    let args = [
        "--services",
        "live",
        "--out",
        "out",
        "--limit",
        "8",
        "--set",
        "settings.transcribe_service.api=transcription",
        "--set",
        "settings.transcribe_service.model=whisper-1",
    ];
    let live = bench.run(&args);
    assert_eq!(code(&live), 0, "{}", stderr(&live));
    let rows = kit::rows(&bench.scratch, "out", "transcript");
    let log = bench.server.log();
    assert!(!log.is_empty() && log.iter().all(|seen| seen.path == "/v1/audio/transcriptions"));
    let spoken: Vec<_> = rows
        .iter()
        .filter(|row| !row["segments"].as_array().unwrap().is_empty())
        .collect();
    assert!(
        !spoken.is_empty() && spoken.len() >= log.len(),
        "{} of {} clips",
        spoken.len(),
        rows.len()
    );
    for row in &rows {
        assert_eq!(
            (row["origin"].as_str(), &row["audio_caption"]),
            (Some("whisper:whisper-1"), &serde_json::Value::Null)
        );
    }
    for row in spoken {
        let segment = &row["segments"][0];
        assert_eq!(
            (segment["text"].as_str(), segment["language"].as_str()),
            (Some("Come in. Sit down."), Some("en"))
        );
        assert!(segment["speaker"].as_str().unwrap().starts_with('S'), "{row}");
    }
    // An answer without times cannot be given to anybody.
    let untimed = Bench::new(
        Personality::Whisper,
        vec![Rule::canned("no_times")],
        Options::default(),
    )
    .unwrap();
    let dropped = untimed.run(&args);
    assert!(
        stdout(&dropped).contains("dropped: rejected:schema"),
        "{}{}",
        stdout(&dropped),
        stderr(&dropped)
    );
}

#[test]
fn a_server_that_does_not_hear_gets_no_clip() {
    let probe = ["--set", "settings.transcribe_service.probe_sound=true"];
    let live = [
        &[
            "--services",
            "live",
            "--out",
            "out",
            "--limit",
            "1",
            "--seed",
            "1",
        ][..],
        &probe,
    ]
    .concat();
    let Some(hears) = Bench::chat(vec![]) else { return };
    let output = hears.run(&live);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(hears.server.log().len(), 3, "two sounds, then the clip");
    let replay = [
        "--services",
        "replay:out/replies",
        "--out",
        "replayed",
        "--limit",
        "1",
        "--seed",
        "1",
    ];
    let replay = hears.run(&[&replay[..], &probe].concat());
    assert_eq!(code(&replay), 0, "{}", stderr(&replay));
    kit::assert_same(&hears.scratch.join("replayed"), &hears.scratch.join("out"));
    // It says that it heard, and answers every sound alike.
    let same = Rule {
        say: omni_loopback::Say {
            content: Some(r#"{"tones": 2}"#.into()),
            ..omni_loopback::Say::default()
        },
        ..Rule::default()
    };
    for rule in [same, Rule::canned("deaf")] {
        let deaf = Bench::chat(vec![rule]).unwrap();
        let output = deaf.run(&live);
        assert_eq!(code(&output), 5, "{}", stderr(&output));
        assert!(stdout(&output).contains("for qwen (deaf)"), "{}", stdout(&output));
        assert_eq!(deaf.server.log().len(), 2, "no clip was sent");
    }
}
