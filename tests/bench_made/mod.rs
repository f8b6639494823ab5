//! Finished runs of `omni bench run` made by code: parts, listing and header as it leaves them, without networks.

use omni_manifests::{Receipt, write_part};
use omni_schemas::{Case, CaseSubject, CaseUtterance, Generation, Score};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// A reading: metric, full name, which way is better, unit.
pub type Reading = (&'static str, &'static str, &'static str, &'static str);

/// Profile `open`, as it is here.
pub const OPEN: &[Reading] = &[
    ("face", "face_sim@yunet_2023mar+sface_2021dec", "higher", ""),
    ("face", "face_cons@yunet_2023mar+sface_2021dec", "higher", ""),
    ("t_sim", "t_sim@wespeaker_resnet34", "higher", ""),
    ("tf", "tf", "higher", ""),
    ("wer", "wer@whisper_base_q8", "lower", ""),
    ("wer", "caption_leak@whisper_base_q8", "lower", ""),
    ("av_offset", "av_offset_ms@yunet_2023mar", "near_zero", "ms"),
];

/// The paper's table.
pub const PAPER: &[Reading] = &[
    ("face", "face_sim", "higher", ""),
    ("face", "face_cons", "higher", ""),
    ("t_sim", "t_sim", "higher", ""),
    ("sync", "sync_c", "higher", ""),
    ("sync", "sync_d", "lower", ""),
    ("ib", "ib_s", "higher", ""),
    ("aq", "aq", "higher", ""),
    ("iq", "iq", "higher", ""),
    ("tf", "tf", "higher", ""),
    ("wer", "wer", "lower", ""),
    ("pq", "pq", "higher", ""),
    ("ib", "ib_a", "higher", ""),
];

/// A run to be made.
pub struct MadeRun<'a> {
    pub method: &'a str,
    pub paradigm: &'a str,
    pub profile: &'a str,
    pub readings: &'a [Reading],
    pub cases: Vec<Case>,
    /// Seeds of every case; one clip without a seed when there are none.
    pub seeds: Vec<i64>,
    /// The number of a case (by its place), a seed and a reading, or the word for its absence.
    pub value: &'a dyn Fn(usize, i64, &str) -> Result<f64, &'static str>,
    /// The detail of a metric of a case.
    pub detail: &'a dyn Fn(usize, &str) -> Option<Value>,
    /// Cases (by place) whose output is not there.
    pub missing: Vec<usize>,
    /// Added to the settings of every metric.
    pub settings: Value,
    /// The folder of the clips.
    pub outputs: &'a Path,
}

impl<'a> MadeRun<'a> {
    pub fn new(method: &'a str, readings: &'a [Reading], cases: Vec<Case>) -> MadeRun<'a> {
        MadeRun {
            method,
            paradigm: "joint",
            profile: if readings == PAPER { "paper" } else { "open" },
            readings,
            cases,
            seeds: Vec::new(),
            value: &|_, _, _| Ok(0.5),
            detail: &|_, _| None,
            missing: Vec::new(),
            settings: json!({ "network": "made 0123456789ab" }),
            outputs: Path::new("/nowhere"),
        }
    }
}

/// `count` cases in three subsets: one person, a dialogue, and one with a voice off screen.
pub fn cases(count: usize) -> Vec<Case> {
    (0..count).map(case).collect()
}

pub fn case(number: usize) -> Case {
    let subset = number as i64 % 3 + 1;
    let people = if subset == 1 { 1 } else { 2 };
    let subject = |n: i64| CaseSubject {
        anchor: format!("<sub{n}>"),
        face: None,
        voice: None,
        visible: subset < 3 || n == 1,
        speaks: true,
    };
    let words = |n: i64| format!("words {number} of {n}");
    let said = |n: i64| CaseUtterance {
        anchor: format!("<sub{n}>"),
        text: words(n),
        language: "en".into(),
    };
    let prompt: Vec<String> = (1..=people)
        .map(|n| format!("Somebody <sub{n}> says, <S>{}<E>.", words(n)))
        .collect();
    Case {
        case: format!("case-{number:05}"),
        subset,
        prompt: prompt.join(" "),
        subjects: (1..=people).map(subject).collect(),
        utterances: (1..=people).map(said).collect(),
        ..Case::default()
    }
}

const SHARD: &str = "0123456789abcdef";

/// Writes the run into `out`.
pub fn write(out: &Path, run: &MadeRun<'_>) {
    let stages = [("generation", "generation"), ("score", "score")];
    let listing = out.join("listing-0123456789ab");
    fs::create_dir_all(&listing).unwrap();
    let seeds: Vec<Option<i64>> = match run.seeds.is_empty() {
        true => vec![None],
        false => run.seeds.iter().copied().map(Some).collect(),
    };
    let rows = run.cases.len() * seeds.len();
    let index = json!({
        "source": "outputs", "settings": {}, "fingerprint": "0".repeat(64), "rows": rows, "beyond_limit": 0,
        "dropped": {}, "shards": [{ "id": SHARD, "rows": rows }],
        "files": { "listing.parquet": { "bytes": 0, "blake3": "" }, "dropped.jsonl": { "bytes": 0, "blake3": "" } },
    });
    json_file(&listing.join("listing.json"), &index);
    let entries: Vec<Value> = stages
        .iter()
        .map(|(stage, record)| json!({ "stage": stage, "record": record, "dir": format!("{stage}-0123456789ab"), "fingerprint": "0".repeat(64) }))
        .collect();
    json_file(
        &out.join("run.json"),
        &json!({ "omni_version": "0.1.0", "source": "outputs", "root": run.outputs, "recipe": {}, "listing": "listing-0123456789ab", "shards": 1, "stages": entries }),
    );
    let key = |case: &Case, seed: Option<i64>| match seed {
        Some(seed) => format!("{}/{}.{seed}", run.method, case.case),
        None => format!("{}/{}", run.method, case.case),
    };
    let (mut generations, mut scores, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for (number, case) in run.cases.iter().enumerate() {
        for seed in &seeds {
            let name = key(case, *seed);
            let there = !run.missing.contains(&number);
            generations.push(Generation {
                generation: name.clone(),
                method: run.method.into(),
                paradigm: run.paradigm.into(),
                case: case.case.clone(),
                seed: *seed,
                media: format!("{}.mp4", name.split_once('/').unwrap().1),
                given: case.clone(),
            });
            if !there {
                missing.push(name.clone());
            }
            let mut last = "";
            for (metric, reading, better, unit) in run.readings {
                let value = match there {
                    true => (run.value)(number, seed.unwrap_or(0), reading),
                    false => Err("missing_output"),
                };
                let first = *metric != last;
                last = metric;
                scores.push(Score {
                    scored: name.clone(),
                    method: Some(run.method.into()),
                    case: Some(case.case.clone()),
                    subset: Some(case.subset),
                    seed: *seed,
                    metric: (*metric).into(),
                    reading: (*reading).into(),
                    value: value.ok(),
                    absent: value.err().map(str::to_owned),
                    unit: (*unit).into(),
                    better: (*better).into(),
                    detail: (first && there)
                        .then(|| (run.detail)(number, metric))
                        .flatten()
                        .map(|detail| detail.to_string()),
                });
            }
        }
    }
    let part = |stage: &str| {
        out.join(format!("{stage}-0123456789ab"))
            .join(format!("part-{SHARD}.parquet"))
    };
    let receipt = |stage: &str| Receipt {
        stage: stage.into(),
        stage_version: 1,
        fingerprint: "0".repeat(64),
        shard: SHARD.into(),
        ..Receipt::default()
    };
    write_part(&part("generation"), &generations, &receipt("generation")).unwrap();
    write_part(&part("score"), &scores, &receipt("score")).unwrap();
    json_file(&out.join("bench.json"), &header(run, missing, rows));
}

fn header(run: &MadeRun<'_>, missing: Vec<String>, clips: usize) -> Value {
    let mut metrics: Vec<Value> = Vec::new();
    for (metric, reading, better, unit) in run.readings {
        if metrics.last().is_none_or(|last| last["metric"] != *metric) {
            metrics.retain(|one| one["metric"] != *metric);
            metrics.push(json!({ "metric": metric, "version": 1, "settings": run.settings, "readings": [] }));
        }
        let base = reading.split('@').next().unwrap();
        let row = json!({ "name": reading, "base": base, "unit": unit, "better": better, "applies": true });
        let own = metrics.last_mut().unwrap()["readings"].as_array_mut().unwrap();
        own.push(row);
    }
    // A metric whose readings lie apart in the table (ib) has them all.
    for metric in &mut metrics {
        let own = run.readings.iter().filter(|one| metric["metric"] == one.0);
        let rows: Vec<Value> = own
            .map(|(_, reading, better, unit)| json!({ "name": reading, "base": reading, "unit": unit, "better": better, "applies": true }))
            .collect();
        metric["readings"] = rows.into();
    }
    json!({
        "format": "omni-bench/1", "omni_version": "0.1.0", "method": run.method, "paradigm": run.paradigm,
        "profile": run.profile, "device": "cpu", "subset": "all",
        "cases": { "file": "/made/cases.jsonl", "sha256": "c".repeat(64), "total": run.cases.len(), "chosen": run.cases.len(), "by_subset": {} },
        "outputs": { "folder": run.outputs, "clips": clips, "seeds": run.seeds, "missing": missing, "broken": [], "dropped": [], "unclaimed": [] },
        "metrics": metrics,
        "left_out": [{ "metric": "dnsmos", "absent": "no_network", "why": "the profile has no network for it" }],
        "not_applicable": [],
        "networks": [{ "role": "face_detector", "id": "yunet_2023mar", "files": [{ "name": "yunet.onnx", "sha256": "a".repeat(64) }], "of_paper": false }],
        "unseen_roles": [{ "role": "lip_sync", "id": "syncnet_v2" }],
        "decoder": "avcodec 59.37.100", "readings_counts": [], "score_dir": "score-0123456789ab",
    })
}

fn json_file(path: &Path, value: &Value) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, serde_json::to_vec_pretty(value).unwrap()).unwrap();
}

/// Numbers that look like scores: by case, method and reading, always the same.
pub fn noise(method: usize, case: usize, reading: &str) -> f64 {
    let hash = blake3::hash(format!("{method} {case} {reading}").as_bytes());
    let part = u32::from_le_bytes(hash.as_bytes()[..4].try_into().unwrap());
    let case_hash = blake3::hash(format!("{case} {reading}").as_bytes());
    let shared = u32::from_le_bytes(case_hash.as_bytes()[..4].try_into().unwrap());
    let share = |n: u32| f64::from(n) / f64::from(u32::MAX);
    let (middle, wide) = match reading.split('@').next().unwrap() {
        "face_cons" => (0.94, 0.05),
        "tf" => (0.93, 0.06),
        "sync_c" => (5.5, 3.0),
        "sync_d" => (8.5, 3.0),
        "ib_s" | "ib_a" => (0.12, 0.1),
        "pq" => (3.9, 1.0),
        "wer" => (0.3, 0.5),
        "caption_leak" => (0.08, 0.16),
        "av_offset_ms" => (30.0, 160.0),
        _ => (0.6, 0.4),
    };
    middle + wide * (0.6 * share(shared) + 0.4 * share(part) - 0.5 + 0.05 * (method as f64 - 1.0))
}
