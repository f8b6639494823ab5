//! What differs between two runs of one case: how they were scored, what was seen and heard, and what came of it.

use super::{
    asks,
    faces::{Face, chosen_otherwise, frames},
};
use crate::report::{Clip, MethodRun, differing};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Frames that are named one by one.
const NAMED: usize = 8;

/// Something that was looked at in both runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    /// What it belongs to: `run`, `case`, `clip`, `network`, `reading`, `frames`, `face`, `offset`, `words`, ...
    pub about: String,
    /// What was looked at.
    pub what: String,
    /// A's.
    pub a: String,
    /// B's.
    pub b: String,
    /// Whether both are the same.
    pub same: bool,
}

/// Everything that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Why {
    /// The case.
    pub case: String,
    /// One method.
    pub a: String,
    /// The other.
    pub b: String,
    /// What was looked at, causes before readings.
    pub points: Vec<Point>,
}

/// Compares one case of two runs; `None` when one of them does not have it.
pub fn why(a: &MethodRun, b: &MethodRun, case: &str) -> Option<Why> {
    let (one, other) = (a.cases.get(case)?, b.cases.get(case)?);
    let mut points = Points::default();
    points.run(a, b);
    points.add(
        "case",
        "what it asks for",
        short(&asks(&one.case)),
        short(&asks(&other.case)),
    );
    for (mine, theirs) in one.case.subjects.iter().zip(&other.case.subjects) {
        let file = |path: &Option<String>| path.clone().unwrap_or_else(|| "none".to_owned());
        points.add(
            "case",
            &format!("picture of {}", mine.anchor),
            file(&mine.face),
            file(&theirs.face),
        );
        points.add(
            "case",
            &format!("voice of {}", mine.anchor),
            file(&mine.voice),
            file(&theirs.voice),
        );
    }
    let seeds: BTreeSet<Option<i64>> = one
        .clips
        .iter()
        .chain(&other.clips)
        .map(|clip| clip.seed)
        .collect();
    let find = |clips: &'_ [Clip], seed: Option<i64>| clips.iter().find(|clip| clip.seed == seed).cloned();
    for seed in seeds {
        let of = seed.map(|seed| format!(" (seed {seed})")).unwrap_or_default();
        match (find(&one.clips, seed), find(&other.clips, seed)) {
            (Some(mine), Some(theirs)) => points.clips(&of, &mine, &theirs),
            (mine, theirs) => {
                let there = |clip: Option<Clip>| clip.map_or("no clip", |_| "a clip").to_owned();
                points.add("clip", &format!("there is{of}"), there(mine), there(theirs));
            }
        }
    }
    Some(Why {
        case: case.to_owned(),
        a: a.method().to_owned(),
        b: b.method().to_owned(),
        points: points.0,
    })
}

#[derive(Default)]
struct Points(Vec<Point>);

impl Points {
    fn add(&mut self, about: &str, what: &str, a: impl Into<String>, b: impl Into<String>) {
        let (a, b) = (a.into(), b.into());
        self.0.push(Point {
            about: about.to_owned(),
            what: what.to_owned(),
            same: a == b,
            a,
            b,
        });
    }

    /// How the runs were made: profile, decoder, networks with their hashes, settings of metrics.
    fn run(&mut self, a: &MethodRun, b: &MethodRun) {
        let (one, other) = (&a.header, &b.header);
        for (what, mine, theirs) in [
            ("profile", &one.profile, &other.profile),
            ("device", &one.device, &other.device),
            ("decoder", &one.decoder, &other.decoder),
            ("omni", &one.omni_version, &other.omni_version),
            ("case file (sha256)", &one.cases.sha256, &other.cases.sha256),
        ] {
            self.add("run", what, mine.clone(), theirs.clone());
        }
        let networks = |run: &MethodRun| -> BTreeMap<String, String> {
            let told = run.header.networks.iter().map(|network| {
                let hashes: Vec<&str> = network.files.iter().map(|file| file.sha256.as_str()).collect();
                (
                    network.role.clone(),
                    format!("{} {}", network.id, hashes.join(" ")),
                )
            });
            told.collect()
        };
        self.both("network", &networks(a), &networks(b));
        let mut metrics: Vec<&str> = one.metrics.iter().map(|metric| metric.metric.as_str()).collect();
        metrics.extend(other.metrics.iter().map(|metric| metric.metric.as_str()));
        metrics.sort_unstable();
        metrics.dedup();
        for name in metrics {
            let of = |run: &MethodRun| {
                run.header
                    .metrics
                    .iter()
                    .find(|metric| metric.metric == name)
                    .cloned()
            };
            let (Some(mine), Some(theirs)) = (of(a), of(b)) else {
                let there = |run: &MethodRun| of(run).map_or("not measured", |_| "measured").to_owned();
                self.add("metric", name, there(a), there(b));
                continue;
            };
            self.add(
                "metric",
                &format!("{name}: version"),
                mine.version.to_string(),
                theirs.version.to_string(),
            );
            let mut found = Vec::new();
            differing("", &mine.settings, &theirs.settings, &mut found);
            for (key, x, y) in found {
                self.add("metric", &format!("{name}: {key}"), x, y);
            }
        }
    }

    fn both(&mut self, about: &str, a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) {
        let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for key in keys {
            let of =
                |map: &BTreeMap<String, String>| map.get(key).cloned().unwrap_or_else(|| "none".to_owned());
            self.add(about, key, of(a), of(b));
        }
    }

    fn clips(&mut self, of: &str, a: &Clip, b: &Clip) {
        self.add(
            "clip",
            &format!("file{of}"),
            a.media.display().to_string(),
            b.media.display().to_string(),
        );
        let size = |clip: &Clip| match std::fs::metadata(&clip.media) {
            Ok(data) => format!("{} bytes", data.len()),
            Err(_) => "not there".to_owned(),
        };
        self.add("clip", &format!("size{of}"), size(a), size(b));
        let detail = |clip: &'_ Clip, metric: &str| clip.details.get(metric).cloned().unwrap_or(Value::Null);
        self.faces(of, &detail(a, "face"), &detail(b, "face"));
        self.offset(of, &detail(a, "av_offset"), &detail(b, "av_offset"));
        self.sync(of, &detail(a, "sync"), &detail(b, "sync"));
        self.words(of, &detail(a, "wer"), &detail(b, "wer"));
        self.voices(of, &detail(a, "t_sim"), &detail(b, "t_sim"));
        let told = |clip: &Clip| -> BTreeMap<String, String> {
            let told = clip.readings.iter().map(|(name, value)| {
                let value = match value {
                    Ok(value) => value.to_string(),
                    Err(word) => format!("absent ({word})"),
                };
                (format!("{name}{of}"), value)
            });
            told.collect()
        };
        self.both("reading", &told(a), &told(b));
    }

    /// Which frames were looked at, and whose face was taken in each.
    fn faces(&mut self, of: &str, a: &Value, b: &Value) {
        if a.is_null() && b.is_null() {
            return;
        }
        let (mine, theirs) = (frames(a), frames(b));
        let listed = |frames: &BTreeMap<i64, Vec<Face>>| match (frames.keys().next(), frames.keys().last()) {
            (Some(first), Some(last)) => {
                let all: Vec<String> = frames.keys().map(ToString::to_string).collect();
                let sum: i64 = frames.keys().sum();
                match all.len() <= NAMED {
                    true => all.join(" "),
                    false => format!("{} frames from {first} to {last} (sum {sum})", all.len()),
                }
            }
            _ => "none".to_owned(),
        };
        let (x, y) = (measured(a, listed(&mine)), measured(b, listed(&theirs)));
        self.add("frames", &format!("frames used{of}"), x, y);
        let count =
            |frames: &BTreeMap<i64, Vec<Face>>| frames.values().map(Vec::len).sum::<usize>().to_string();
        let (x, y) = (measured(a, count(&mine)), measured(b, count(&theirs)));
        self.add("face", &format!("faces found{of}"), x, y);
        let subjects: BTreeSet<i64> = mine
            .values()
            .chain(theirs.values())
            .flatten()
            .filter_map(|face| face.subject)
            .collect();
        for subject in subjects {
            let own = |frames: &BTreeMap<i64, Vec<Face>>| {
                frames
                    .values()
                    .flatten()
                    .filter(|face| face.subject == Some(subject))
                    .count()
            };
            let what = format!("subject {}: frames with a face{of}", subject + 1);
            let (x, y) = (own(&mine).to_string(), own(&theirs).to_string());
            self.add("face", &what, measured(a, x), measured(b, y));
            let moved = chosen_otherwise(subject, &mine, &theirs);
            if let Some((frame, x, y)) = moved.first() {
                let what = format!(
                    "subject {}: face chosen in frame {frame}, the first of {} that differ{of}",
                    subject + 1,
                    moved.len()
                );
                self.add("face", &what, x.clone(), y.clone());
            }
        }
    }

    fn offset(&mut self, of: &str, a: &Value, b: &Value) {
        if a.is_null() && b.is_null() {
            return;
        }
        let peak = |detail: &Value| {
            let curve = detail["curve"].as_array();
            let best = curve
                .into_iter()
                .flatten()
                .filter_map(|point| Some((point["shift_ms"].as_f64()?, point["correlation"].as_f64()?)));
            best.max_by(|x, y| x.1.total_cmp(&y.1))
                .map_or("none".to_owned(), |(shift, correlation)| {
                    format!("{shift:.0} ms, correlation {correlation:.3}")
                })
        };
        self.add(
            "offset",
            &format!("best shift of sound against lips{of}"),
            measured(a, peak(a)),
            measured(b, peak(b)),
        );
        let mouths = |detail: &Value| {
            detail["mouths"]
                .as_u64()
                .map_or("unknown".to_owned(), |n| n.to_string())
        };
        self.add(
            "offset",
            &format!("mouths followed{of}"),
            measured(a, mouths(a)),
            measured(b, mouths(b)),
        );
    }

    fn sync(&mut self, of: &str, a: &Value, b: &Value) {
        if a.is_null() && b.is_null() {
            return;
        }
        let tracks = |detail: &Value| {
            let own = detail["tracks"].as_array().into_iter().flatten();
            let told: Vec<String> = own
                .map(|track| {
                    format!(
                        "frames {} to {}: offset {}, confidence {}",
                        track["start"], track["end"], track["offset"], track["confidence"]
                    )
                })
                .collect();
            match told.is_empty() {
                true => "none".to_owned(),
                false => told.join("; "),
            }
        };
        self.add(
            "offset",
            &format!("SyncNet's tracks{of}"),
            measured(a, tracks(a)),
            measured(b, tracks(b)),
        );
    }

    fn words(&mut self, of: &str, a: &Value, b: &Value) {
        if a.is_null() && b.is_null() {
            return;
        }
        for (key, what) in [
            ("language", "language the recogniser was told"),
            ("heard", "transcript"),
            ("hypothesis", "transcript, normalised"),
            ("reference", "script, normalised"),
            ("errors", "errors"),
        ] {
            let (x, y) = (measured(a, short(&a[key])), measured(b, short(&b[key])));
            self.add("words", &format!("{what}{of}"), x, y);
        }
    }

    fn voices(&mut self, of: &str, a: &Value, b: &Value) {
        let told = |detail: &Value| -> BTreeMap<String, String> {
            let own = detail["speakers"].as_array().into_iter().flatten();
            own.map(|one| {
                let anchor = one["anchor"].as_str().unwrap_or("?");
                let flag = one["flag"]
                    .as_str()
                    .map(|flag| format!(", {flag}"))
                    .unwrap_or_default();
                (
                    format!("{anchor}: sound taken for this voice{of}"),
                    format!("{} s{flag}", one["seconds"]),
                )
            })
            .collect()
        };
        self.both("voice", &told(a), &told(b));
    }
}

/// What a detail tells, or that there is none: nothing was counted then, and no count is 0.
fn measured(detail: &Value, told: String) -> String {
    match detail.is_null() {
        true => "not measured".to_owned(),
        false => told,
    }
}

/// A text as it is, everything else as JSON.
fn short(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn frame(number: i64, bbox: [f64; 4], subject: Option<i64>) -> Value {
        json!({ "frame": number, "faces": [{ "box": bbox, "score": 0.9, "subject": subject }] })
    }

    #[test]
    fn another_face_is_seen_and_a_box_that_shook_is_not() {
        let a = json!({ "frames": [frame(0, [10.0, 10.0, 50.0, 50.0], Some(0)), frame(5, [10.0, 10.0, 50.0, 50.0], Some(0)), frame(9, [0.0, 0.0, 9.0, 9.0], None)] });
        let b = json!({ "frames": [frame(0, [12.0, 11.0, 50.0, 50.0], Some(0)), frame(5, [200.0, 10.0, 50.0, 50.0], Some(0)), frame(9, [0.0, 0.0, 9.0, 9.0], Some(0))] });
        let moved = chosen_otherwise(0, &frames(&a), &frames(&b));
        assert_eq!(moved.iter().map(|one| one.0).collect::<Vec<_>>(), [5, 9]);
        assert_eq!(
            (moved[0].2.as_str(), moved[1].1.as_str()),
            ("50x50 pixels at 200,10", "none")
        );
        let mut points = Points::default();
        points.faces("", &a, &b);
        let differs: Vec<&str> = points
            .0
            .iter()
            .filter(|point| !point.same)
            .map(|point| point.what.as_str())
            .collect();
        assert_eq!(differs.len(), 2, "{differs:?}");
        assert!(
            differs[0].contains("frames with a face") && differs[1].contains("frame 5, the first of 2"),
            "{differs:?}"
        );
        points = Points::default();
        points.faces("", &a, &Value::Null);
        let theirs: Vec<&str> = points.0.iter().map(|point| point.b.as_str()).collect();
        assert_eq!(theirs, ["not measured"; 3]);
        assert_eq!(points.0[1].a, "3");
        points = Points::default();
        points.faces("", &a, &a);
        assert!(points.0.iter().all(|point| point.same));
    }
}
