//! `omni forget` and the answers of services: nothing of the clip is left in the output folder, the rest still replays,
//! and a kill on the way is made good by the same command.

use crate::{bench, common, kit};
use bench::Bench;
use common::{code, stderr, stdout};
use omni_loopback::{Match, Options, Personality, Rule, Say};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

/// Every request gets words of its own.
fn rules() -> Vec<Rule> {
    let rule = |nth: u64| {
        let words = format!("secret words number {nth} of somebody");
        let segment =
            serde_json::json!({"speaker": "S1", "text": words, "start": 0.1, "end": 0.6, "language": "en"});
        let answer =
            serde_json::json!({"segments": [segment], "audio_caption": format!("A voice, the {nth}th.")});
        Rule {
            when: Match {
                nth: Some(nth),
                ..Match::default()
            },
            say: Say {
                content: Some(answer.to_string()),
                ..Say::default()
            },
            ..Rule::default()
        }
    };
    (1..100).map(rule).collect()
}

/// The keys of the calls that a clip's records name, from the raw logs.
fn keys(replies: &Path, clip: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for path in kit::walk(replies) {
        let bytes = fs::read(path).unwrap();
        let mark = b"{\"kind\":\"";
        let starts = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(mark));
        for at in starts {
            let mut heads = serde_json::Deserializer::from_slice(&bytes[at..]).into_iter::<Value>();
            let Some(Ok(head)) = heads.next() else { continue };
            let about = head["clips"].as_array().cloned().unwrap_or_default();
            if about.iter().any(|name| name == clip) {
                keys.insert(head["key"].as_str().unwrap().to_owned());
            }
        }
    }
    keys
}

fn holding(out: &Path, words: &str) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        bytes
            .windows(words.len())
            .any(|window| window == words.as_bytes())
    };
    kit::walk(out).into_iter().filter(holds).collect()
}

struct Made {
    bench: Bench,
    /// A clip whose sound is its own, and what is to be gone with it.
    clip: String,
    traces: Vec<String>,
}

fn make() -> Option<Made> {
    let bench = Bench::new(Personality::Vllm, rules(), Options::default())?;
    let live = bench.run(&[
        "--services",
        "live",
        "--out",
        "out",
        "--limit",
        "8",
        "--seed",
        "1",
    ]);
    assert_eq!(code(&live), 0, "{}", stderr(&live));
    let rows = kit::rows(&bench.scratch, "out", "transcript");
    let words = |row: &Value| row["segments"][0]["text"].as_str().unwrap().to_owned();
    let own = |row: &&Value| rows.iter().filter(|other| words(other) == words(row)).count() == 1;
    let row = rows.iter().find(own).unwrap();
    let clip = row["clip"].as_str().unwrap().to_owned();
    let replies = bench.scratch.join("out/replies");
    let mut traces: Vec<String> = keys(&replies, &clip).into_iter().collect();
    assert_eq!(traces.len(), 1, "one call");
    traces.push(words(row));
    traces.push(row["audio_caption"].as_str().unwrap().to_owned());
    for trace in &traces {
        assert!(!holding(&replies, trace).is_empty(), "{trace}");
    }
    Some(Made { bench, clip, traces })
}

fn assert_gone(made: &Made) {
    let out = made.bench.scratch.join("out");
    for trace in &made.traces {
        assert_eq!(holding(&out, trace), Vec::<PathBuf>::new(), "{trace}");
    }
    assert_eq!(holding(&out.join("replies"), &made.clip), Vec::<PathBuf>::new());
    assert!(
        kit::walk(&out.join("replies"))
            .iter()
            .all(|path| path.extension().unwrap() == "log")
    );
}

#[test]
fn the_answers_about_a_clip_go_with_it_and_the_rest_replays() {
    let Some(made) = make() else { return };
    let (scratch, asked) = (&made.bench.scratch, made.bench.server.log().len());
    let dry = scratch.omni(&["forget", "out", "--clip", &made.clip, "--dry-run"]);
    assert!(
        stdout(&dry).contains("calls to services and their answers"),
        "{}",
        stdout(&dry)
    );
    assert!(
        !holding(&scratch.join("out/replies"), &made.clip).is_empty(),
        "a dry run writes nothing"
    );
    let forgot = scratch.omni(&["forget", "out", "--clip", &made.clip]);
    assert_eq!(code(&forgot), 0, "{}", stderr(&forgot));
    assert_gone(&made);

    fs::create_dir_all(scratch.join("again")).unwrap();
    fs::copy(
        scratch.join("out/forgotten.json"),
        scratch.join("again/forgotten.json"),
    )
    .unwrap();
    let replay = [
        "--services",
        "replay:out/replies",
        "--out",
        "again",
        "--limit",
        "8",
        "--seed",
        "1",
    ];
    let again = made.bench.run(&replay);
    assert_eq!(code(&again), 0, "{}", stderr(&again));
    kit::assert_same(&scratch.join("again"), &scratch.join("out"));
    let live = made.bench.run(&[
        "--services",
        "live",
        "--out",
        "out",
        "--limit",
        "8",
        "--seed",
        "1",
    ]);
    assert_eq!(code(&live), 0, "{}", stderr(&live));
    assert_eq!(made.bench.server.log().len(), asked, "nothing is asked anew");
    assert_gone(&made);
}

#[test]
fn a_killed_forget_is_ended_by_the_next() {
    let Some(made) = make() else { return };
    let (out, whole) = (made.bench.scratch.join("out"), made.bench.scratch.join("whole"));
    kit::copy(&out, &whole);
    for round in 0..10 {
        fs::remove_dir_all(&out).unwrap();
        kit::copy(&whole, &out);
        let mut command = made
            .bench
            .scratch
            .command(&["forget", "out", "--clip", &made.clip]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(4 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let forgot = made.bench.scratch.omni(&["forget", "out", "--clip", &made.clip]);
        assert_eq!(code(&forgot), 0, "{}", stderr(&forgot));
        assert_gone(&made);
    }
}
