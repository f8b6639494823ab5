//! Binding by the routed ensemble, as a user runs it, against loopback servers: who is asked, what is recorded, one bad
//! answer for each rule, the fallback, and what the evidence says of the claims.

use crate::{common, kit};
use common::{Scratch, code, stderr, stdout};
use omni_loopback::{Options, Personality, Rule, Server};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path, process::Output};

const KEY: &str = "sk-bind-0123456789";
const RECIPE: &str = r#"
name = "bound"
source = "openhumanvid"
stages = [
    "probe", "track", "face_ref", "transcribe_service", "caption_ingest", "voice_ref", "av_evidence", "bind_service",
    "cross_check", "compose",
]

[settings.transcribe_service]
probe_sound = false

[settings.bind_service.qwen]
probe_sound = false
"#;
/// The stages before the binding.
const BEFORE: &str = "probe,track,face_ref,transcribe_service,caption_ingest,voice_ref,av_evidence";
/// A clip of two people: with it alone, every rule can be broken.
const TWO_PEOPLE: [&str; 4] = ["--limit", "1", "--seed", "7"];

struct Bench {
    scratch: Scratch,
    root: String,
    gemini: Server,
    qwen: Server,
}

impl Bench {
    fn new(gemini: Vec<Rule>, qwen: Vec<Rule>) -> Option<Bench> {
        let root = kit::sample()?.to_str().unwrap().to_owned();
        if let Err(error) = omni_media::can_make_proxies() {
            println!("skipped: {error}");
            return None;
        }
        let scratch = Scratch::new();
        scratch.write("bound.toml", RECIPE);
        let key = || Options {
            key: Some(KEY.into()),
            ..Options::default()
        };
        Some(Bench {
            scratch,
            root,
            gemini: Server::with_options(Personality::Gemini, gemini, key()).unwrap(),
            qwen: Server::start(Personality::Vllm, qwen).unwrap(),
        })
    }

    /// The same with other servers, on a copy of an output folder.
    fn beside(base: &Bench, gemini: Vec<Rule>, qwen: Vec<Rule>) -> Bench {
        let bench = Bench::new(gemini, qwen).unwrap();
        kit::copy(&base.scratch.join("out"), &bench.scratch.join("out"));
        bench
    }

    fn run(&self, args: &[&str]) -> Output {
        let set = [
            format!("settings.transcribe_service.endpoint.url={}", self.qwen.url()),
            format!("settings.bind_service.qwen.endpoint.url={}", self.qwen.url()),
            format!("settings.bind_service.gemini.endpoint.url={}", self.gemini.url()),
            "settings.bind_service.gemini.endpoint.key_env=OMNI_BIND_KEY".to_owned(),
        ];
        let mut all = vec!["curate", "--recipe", "bound.toml", "--root", &self.root];
        set.iter().for_each(|set| all.extend(["--set", set]));
        all.extend(args);
        let mut command = self.scratch.command(&all);
        command.env("NO_PROXY", "127.0.0.1").env("OMNI_BIND_KEY", KEY);
        command.output().unwrap()
    }

    fn live(&self, args: &[&str]) -> Output {
        self.run(&[&["--services", "live", "--out", "out"], args].concat())
    }

    fn asked(&self) -> (usize, usize) {
        (self.gemini.log().len(), self.qwen.log().len())
    }

    fn binding(&self) -> Value {
        kit::rows(&self.scratch, "out", "binding").remove(0)
    }
}

/// Everything before the binding, once; the rest is run on copies.
fn base() -> Option<Bench> {
    let bench = Bench::new(vec![], vec![])?;
    let before = bench.live(&[&TWO_PEOPLE[..], &["--only", BEFORE]].concat());
    // It ends with code 1, because the clip is pending.
    let transcribed = kit::rows(&bench.scratch, "out", "transcript").len();
    assert_eq!(transcribed, 1, "{}", stderr(&before));
    Some(bench)
}

/// Parts and tars of some stages, by stage and name.
fn parts(out: &Path, stages: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let mine = |name: &str| stages.iter().any(|stage| name.starts_with(&format!("{stage}-")));
    kit::finished(out)
        .into_iter()
        .filter(|(name, _)| mine(name))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}

#[test]
fn clips_go_by_their_counts_and_a_replay_makes_the_same_bytes() {
    let Some(bench) = Bench::new(vec![], vec![]) else {
        return;
    };
    let first = bench.live(&[]);
    assert_eq!(code(&first), 0, "{}", stderr(&first));
    let rows = kit::rows(&bench.scratch, "out", "binding");
    let mut by_route: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows {
        let claim = &row["claim"];
        let complex = row["faces"]
            .as_i64()
            .unwrap()
            .max(row["speakers"].as_i64().unwrap())
            >= 2;
        let route = if complex { "gemini" } else { "qwen" };
        assert_eq!(
            (&claim["routed"], &claim["route"]),
            (&route.into(), &route.into()),
            "{row}"
        );
        assert_eq!(
            (claim["prompt"].as_str(), claim["asked"].as_i64()),
            (Some("bind@1"), Some(1))
        );
        assert_eq!(claim["answer"].as_str().unwrap().len(), 64);
        assert!(claim["response_id"].is_string() && row["raw"]["length"].as_i64().unwrap() > 100);
        *by_route.entry(route).or_default() += 1;
    }
    assert!(by_route["gemini"] >= 2 && by_route["qwen"] >= 2, "{by_route:?}");
    let (gemini, qwen) = bench.asked();
    assert_eq!(gemini, by_route["gemini"]);

    // The prompt is made of the model's words, and says so.
    for caption in kit::rows(&bench.scratch, "out", "omni_caption") {
        let (prompt, words) = (caption["prompt"].as_str().unwrap(), "says calmly, <S>Come in.<E>");
        assert!(
            prompt.contains(words) && prompt.contains("A plain room with even light."),
            "{prompt}"
        );
        let source = caption["descriptors"][0]["descriptor_source"].as_str().unwrap();
        assert!(source.ends_with("#bind@1"), "{source}");
    }

    // The evidence stands beside the claim, in the summary and in the scores of a selection.
    let checks = kit::rows(&bench.scratch, "out", "cross_check");
    assert_eq!(checks.len(), rows.len());
    let summary = kit::json(&bench.scratch.join("out/summary.json"));
    for route in ["gemini", "qwen"] {
        let rate = &summary["agreement"][route];
        assert_eq!(
            rate["clips"].as_u64().unwrap() as usize,
            by_route[route],
            "{summary}"
        );
        assert!(
            rate["rate"]
                .as_f64()
                .is_some_and(|rate| (0.0..=1.0).contains(&rate)),
            "{rate}"
        );
    }
    assert!(stdout(&first).contains("evidence agrees"), "{}", stdout(&first));
    let base = [
        "select",
        "stage1",
        "--from",
        "out",
        "--set",
        "minimum.seconds=0",
        "--to",
        "picked",
    ];
    let select = bench
        .scratch
        .omni(&[&base[..], &["--set", "minimum.agreement=1"]].concat());
    assert_eq!(code(&select), 0, "{}", stderr(&select));
    let agreed = |clip: &Value| {
        checks
            .iter()
            .any(|row| row["clip"] == *clip && row["agreement"] == 1.0)
    };
    for row in kit::rows(&bench.scratch, "picked", "selection") {
        assert!(agreed(&row["clip"]), "{row}");
    }

    // Parts that are lost are made again from the answers on disk.
    let made = ["bind_service", "cross_check", "compose"];
    let before = parts(&bench.scratch.join("out"), &made);
    assert!(!before.is_empty());
    for (_, folder) in kit::stages(&bench.scratch.join("out"))
        .iter()
        .filter(|(stage, _)| made.contains(&stage.as_str()))
    {
        fs::remove_dir_all(folder).unwrap();
    }
    let again = bench.live(&[]);
    assert_eq!(code(&again), 0, "{}", stderr(&again));
    assert!(parts(&bench.scratch.join("out"), &made) == before && bench.asked() == (gemini, qwen));
    let replay = bench.run(&["--services", "replay:out/replies", "--out", "replayed"]);
    assert_eq!(code(&replay), 0, "{}", stderr(&replay));
    assert!(
        parts(&bench.scratch.join("replayed"), &made) == before,
        "byte for byte"
    );
    assert_eq!(bench.asked(), (gemini, qwen));

    // When a clip is forgotten, the answers of the others stay where their rows point.
    let gone = rows[0]["clip"].as_str().unwrap();
    let forgot = bench.scratch.omni(&["forget", "out", "--clip", gone]);
    assert_eq!(code(&forgot), 0, "{}", stderr(&forgot));
    let (stages, out) = (["bind_service"], bench.scratch.join("out"));
    let tars: Vec<_> = kit::finished(&out)
        .into_values()
        .filter(|path| path.to_str().unwrap().contains(stages[0]) && path.extension().unwrap() == "tar")
        .collect();
    let kept = kit::rows(&bench.scratch, "out", "binding");
    assert_eq!(kept.len(), rows.len() - 1);
    for row in kept {
        let blob = serde_json::from_value(row["raw"].clone()).unwrap();
        let found = |tar: &std::path::PathBuf| omni_manifests::read_blob(tar, &blob).is_ok();
        assert!(tars.iter().any(found), "{row}");
    }

    // The key is in one header and nowhere else.
    let log = bench.gemini.log();
    assert!(
        log.iter()
            .all(|seen| seen.headers.contains(&"x-goog-api-key".to_owned()))
    );
    let mut said = [&first, &again, &replay]
        .map(|output| stdout(output) + &stderr(output))
        .concat();
    said.push_str(&format!("{log:?}"));
    assert!(!said.contains(KEY));
    for path in kit::walk(bench.scratch.path()) {
        let bytes = fs::read(&path).unwrap();
        assert!(
            !bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes()),
            "{}",
            path.display()
        );
    }
}

#[test]
fn one_bad_answer_for_each_rule_is_asked_again_once_and_then_dropped_by_its_name() {
    let Some(base) = base() else { return };
    let rows = [
        ("not_json", "not_json"),
        ("cut", "truncated"),
        ("missing_field", "schema"),
        ("unknown_face", "unknown_face"),
        ("face_twice", "face_twice"),
        ("face_missing", "face_missing"),
        ("unknown_speaker", "unknown_speaker"),
        ("speaker_twice", "speaker_twice"),
        ("confidence", "confidence"),
        ("unknown_anchor", "unknown_anchor"),
        ("anchor_missing", "anchor_missing"),
        ("anchor_twice", "anchor_twice"),
        ("empty_label", "empty_field"),
        ("label_markup", "markup"),
        ("scene_speech", "markup"),
        ("long", "too_long"),
        ("unbalanced", "unbalanced"),
        ("nested", "unbalanced"),
        ("no_anchor", "no_anchor"),
        ("wrong_anchor", "wrong_anchor"),
        ("words_differ", "words_differ"),
        ("utterance_missing", "utterance_count"),
        ("no_candidates", "no_choice"),
        ("thought_only", "no_content"),
        ("max_tokens", "mllm_truncated"),
    ];
    let alone = ["--set", "settings.bind_service.route.fallback=false"];
    for (canned, reason) in rows {
        let bench = Bench::beside(&base, vec![Rule::canned(canned)], vec![]);
        let dropped = bench.live(&[&TWO_PEOPLE[..], &alone].concat());
        let table = stdout(&dropped);
        assert!(
            table.contains(&format!("dropped: rejected:{reason}")),
            "{canned}: {table}{}",
            stderr(&dropped)
        );
        assert_eq!(bench.asked(), (2, 0), "{canned}: one re-ask, and nobody else");
    }
    for (canned, rule) in [("words_differ", "re-ask"), ("max_tokens", "twice the tokens")] {
        let bench = Bench::beside(&base, vec![Rule::canned(canned).times(1)], vec![]);
        let kept = bench.live(&[&TWO_PEOPLE[..], &alone].concat());
        assert_eq!(code(&kept), 0, "{}", stderr(&kept));
        let claim = &bench.binding()["claim"];
        assert_eq!(
            (claim["route"].as_str(), claim["asked"].as_i64()),
            (Some("gemini"), Some(2)),
            "{rule}"
        );
    }
}

#[test]
fn the_other_route_is_asked_when_one_has_no_answer_that_can_be_used() {
    let Some(base) = base() else { return };
    // Both ways: routed to Gemini by its two people, and to Qwen by the recipe.
    for (threshold, from, to) in [("2", "gemini", "qwen"), ("99", "qwen", "gemini")] {
        let bad = || vec![Rule::canned("words_differ")];
        let (gemini, qwen) = if from == "gemini" {
            (bad(), vec![])
        } else {
            (vec![], bad())
        };
        let bench = Bench::beside(&base, gemini, qwen);
        let route = format!("settings.bind_service.route.complex_from={threshold}");
        let kept = bench.live(&[&TWO_PEOPLE[..], &["--set", &route]].concat());
        assert_eq!(code(&kept), 0, "{}", stderr(&kept));
        let row = bench.binding();
        let claim = &row["claim"];
        assert_eq!(
            (claim["routed"].as_str(), claim["route"].as_str()),
            (Some(from), Some(to))
        );
        assert_eq!(claim["asked"], 3);
        assert!(row["source"].as_str().unwrap().starts_with(to));
        let wanted = if from == "gemini" { (2, 1) } else { (1, 2) };
        assert_eq!(bench.asked(), wanted);
    }
    let bad = || vec![Rule::canned("unknown_face")];
    let both = Bench::beside(&base, bad(), bad());
    let dropped = both.live(&TWO_PEOPLE);
    assert!(
        stdout(&dropped).contains("rejected:unknown_face"),
        "{}",
        stdout(&dropped)
    );
    assert_eq!(both.asked(), (2, 1));
    // What is withheld for its content is not asked for again.
    for canned in ["blocked", "safety"] {
        let withheld = Bench::beside(&base, vec![Rule::canned(canned)], vec![]);
        let kept = withheld.live(&TWO_PEOPLE);
        assert_eq!(code(&kept), 0, "{}", stderr(&kept));
        assert_eq!(
            (withheld.asked(), withheld.binding()["claim"]["asked"].as_i64()),
            ((1, 1), Some(2))
        );
    }
}

#[test]
fn a_large_clip_goes_up_as_a_file_and_a_replay_needs_none() {
    let Some(base) = base() else { return };
    let bench = Bench::beside(&base, vec![], vec![]);
    let small = ["--set", "settings.bind_service.gemini.options.inline_bytes=1000"];
    let live = bench.live(&[&TWO_PEOPLE[..], &small].concat());
    assert_eq!(code(&live), 0, "{}", stderr(&live));
    let steps: Vec<String> = bench
        .gemini
        .log()
        .into_iter()
        .map(|seen| seen.method + &seen.path)
        .collect();
    assert!(
        steps[0].ends_with("/upload/v1beta/files") && steps[1].contains("upload_id"),
        "{steps:?}"
    );
    assert!(
        steps[steps.len() - 2].contains(":generateContent") && steps[steps.len() - 1].starts_with("DELETE")
    );
    let replay = ["--services", "replay:out/replies", "--out", "replayed"];
    let replay = bench.run(&[&replay[..], &TWO_PEOPLE, &small].concat());
    assert_eq!(code(&replay), 0, "{}", stderr(&replay));
    let stage = ["bind_service"];
    assert!(parts(&bench.scratch.join("out"), &stage) == parts(&bench.scratch.join("replayed"), &stage));
    assert_eq!(bench.gemini.log().len(), steps.len());
}

#[test]
fn a_wrong_key_a_missing_address_and_wrong_values_are_named_and_nothing_is_lost() {
    let Some(base) = base() else { return };
    let bench = Bench::beside(&base, vec![], vec![]);
    let run = |args: &[&str]| bench.live(&[&TWO_PEOPLE[..], args].concat());
    let nobody = run(&["--set", "settings.bind_service.qwen.endpoint.url="]);
    assert!(
        code(&nobody) == 1 && stderr(&nobody).contains("endpoint.url"),
        "{}",
        stderr(&nobody)
    );
    let unset = run(&[
        "--set",
        "settings.bind_service.gemini.endpoint.key_env=OMNI_NO_SUCH_KEY",
    ]);
    assert!(
        code(&unset) == 1 && stderr(&unset).contains("OMNI_NO_SUCH_KEY"),
        "{}",
        stderr(&unset)
    );
    for (set, part) in [
        ("route.complex_from=0", "at least 1"),
        ("proxy.fps=60", "0.1..=24"),
        ("gemini.model=a/b", "bare name"),
        ("gemini.endpoint.in_flight=0", "in_flight"),
        ("seeds=1", "did you mean"),
    ] {
        let output = run(&["--set", &format!("settings.bind_service.{set}")]);
        assert!(
            code(&output) == 2 && stderr(&output).contains(part),
            "{set}: {}",
            stderr(&output)
        );
    }
    assert_eq!(bench.asked(), (0, 0));
    let refused = r#"{"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "no"}}"#;
    let closed = Bench::beside(&base, vec![Rule::status(403, refused)], vec![]);
    let stopped = closed.live(&TWO_PEOPLE);
    assert_eq!(code(&stopped), 5, "{}", stderr(&stopped));
    assert!(
        stdout(&stopped).contains("for gemini (closed)") && !stdout(&stopped).contains("rejected"),
        "{}",
        stdout(&stopped)
    );
    assert_eq!(closed.asked(), (1, 0), "{}", stderr(&stopped));
    assert!(
        parts(&closed.scratch.join("out"), &["bind_service"]).is_empty(),
        "its clip is pending"
    );
}

#[test]
fn a_qwen_that_does_not_hear_gets_no_clip_and_those_of_gemini_go_on() {
    let Some(base) = base() else { return };
    let run = |gemini: Vec<Rule>, qwen: Vec<Rule>, complex_from: u32| {
        let bench = Bench::beside(&base, gemini, qwen);
        let route = format!("settings.bind_service.route.complex_from={complex_from}");
        let sets = [
            "--set",
            &route,
            "--set",
            "settings.bind_service.qwen.probe_sound=true",
        ];
        let output = bench.live(&[&TWO_PEOPLE[..], &sets].concat());
        (
            code(&output),
            stdout(&output).contains("for qwen (deaf)"),
            bench.asked(),
        )
    };
    let deaf = || vec![Rule::canned("deaf")];
    assert_eq!(run(vec![], deaf(), 2), (0, false, (1, 0)), "Qwen is not asked");
    assert_eq!(
        run(vec![], deaf(), 99),
        (5, true, (0, 2)),
        "two sounds and no clip"
    );
    let bad = vec![Rule::canned("words_differ")];
    assert_eq!(run(bad, deaf(), 2), (5, true, (2, 2)), "the fallback");
    assert_eq!(run(vec![], vec![], 99), (0, false, (0, 3)), "it hears");
}

#[test]
fn a_dry_run_tells_both_routes_and_canned_answers_say_so() {
    let Some(bench) = Bench::new(vec![], vec![]) else {
        return;
    };
    let prices = [
        "--set",
        "settings.bind_service.gemini.endpoint.usd_per_million_out=10",
    ];
    let dry = bench.live(&[&prices[..], &["--dry-run"]].concat());
    let text = stdout(&dry);
    let line = |service: &str| {
        text.lines()
            .find(|line| line.starts_with("bind_service") && line.contains(service))
    };
    assert!(
        line("qwen").is_some() && line("gemini").unwrap().contains("0.081920 usd a clip"),
        "{text}"
    );
    assert_eq!(bench.asked(), (0, 0));
    let canned = bench.run(&[&TWO_PEOPLE[..], &["--services", "loopback", "--out", "out"]].concat());
    assert!(
        code(&canned) == 0 && stdout(&canned).contains("canned"),
        "{}",
        stderr(&canned)
    );
    assert_eq!(
        (bench.asked(), bench.binding()["claim"]["route"].as_str()),
        ((0, 0), Some("gemini"))
    );
}
