//! Holds a corpus against itself (`omni audit`): what its index names against the media that lie there, without any
//! network and without decoding more than a probe does, unless asked to.
//!
//! Every clip that the source lists is opened once. What does not match becomes a finding of one fixed word:
//! `missing` (a row without media), `orphan` (media without a row), `undecodable` (also: of another length than given),
//! `silent` (no sound, or nothing to hear), `duplicate` (the same bytes and stretch as a clip before, or a key that came twice), `licence` (a clip without
//! one) and `index` (a damaged row or file of the corpus). Clips left out by a filter of the source are no finding.

use omni_media::{Limits, Span, Window};
use omni_pipeline::{Cancel, ListingSink, Source, SourceError};
use omni_schemas::{AuditRow, Listing};
use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    path::Path,
    sync::Mutex,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Sound whose loudest sample stays below this (-60 dB of full scale) is silent.
const SILENCE: f64 = 0.001;
/// Seconds by which the decoded sound may differ from the length that the corpus gives (Emilia's `duration`).
const LENGTH: f64 = 0.3;
/// Clips that are probed before their findings are told.
const BATCH: usize = 1024;

/// How a corpus is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Decode every picture and hash every byte.
    pub full: bool,
    /// Clips side by side.
    pub threads: usize,
}

/// What was looked at and what was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Clips opened.
    pub clips: u64,
    /// Clips that a filter of the source left out.
    pub filtered: u64,
    /// The findings, in the order of the corpus.
    pub findings: Vec<AuditRow>,
}

impl Report {
    /// Findings by their word.
    pub fn counts(&self) -> BTreeMap<&str, u64> {
        let mut counts = BTreeMap::new();
        for row in &self.findings {
            *counts.entry(row.finding.as_str()).or_default() += 1;
        }
        counts
    }
}

/// What a clip's media turned out to be.
enum Seen {
    /// Bytes and stretch, as one word.
    Sound(String),
    /// Finding and reason.
    Bad(&'static str, String),
    /// The audit was cancelled before.
    Skipped,
}

/// Looks at every clip of a source below `root`. A cancelled audit returns what it has.
///
/// # Errors
/// When the source cannot be listed.
pub fn audit(
    source: &dyn Source,
    root: &Path,
    options: Options,
    cancel: &Cancel,
) -> Result<Report, SourceError> {
    let mut sink = Sink {
        root,
        options,
        cancel,
        report: Report::default(),
        batch: Vec::new(),
        known: HashMap::new(),
    };
    source.list(&mut sink)?;
    sink.flush();
    Ok(sink.report)
}

struct Sink<'a> {
    root: &'a Path,
    options: Options,
    cancel: &'a Cancel,
    report: Report,
    batch: Vec<Listing>,
    /// Content -> the first clip that has it.
    known: HashMap<u128, String>,
}

impl ListingSink for Sink<'_> {
    fn keep(&mut self, row: Listing) -> Result<(), SourceError> {
        self.batch.push(row);
        if self.batch.len() >= BATCH {
            self.flush();
        }
        match self.cancel.is_cancelled() {
            true => Err(SourceError::new("cancelled")),
            false => Ok(()),
        }
    }

    fn drop(&mut self, key: &str, reason: &str) -> Result<(), SourceError> {
        let finding = match reason {
            "missing_media" => "missing",
            "orphan_media" => "orphan",
            "duplicate_id" | "duplicate_row" => "duplicate",
            filtered if filtered.starts_with("filtered:") => {
                self.report.filtered += 1;
                return Ok(());
            }
            _ => "index",
        };
        self.report.findings.push(AuditRow {
            clip: key.to_owned(),
            path: (finding == "orphan").then(|| key.to_owned()),
            finding: finding.to_owned(),
            detail: reason.to_owned(),
            licence: None,
        });
        Ok(())
    }
}

impl Sink<'_> {
    /// Opens the clips of the batch, side by side, and tells what was found in their order.
    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let (next, seen) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
        std::thread::scope(|scope| {
            for _ in 0..self.options.threads.clamp(1, batch.len().max(1)) {
                scope.spawn(|| {
                    while let Some((at, row)) = claim(&next, &batch) {
                        let found = match self.cancel.is_cancelled() {
                            true => Seen::Skipped,
                            false => look(self.root, row, self.options.full),
                        };
                        let mut seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        seen.insert(at, found);
                    }
                });
            }
        });
        let seen = seen
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for (row, found) in batch.into_iter().zip(seen.into_values()) {
            self.tell(row, found);
        }
    }

    fn tell(&mut self, row: Listing, found: Seen) {
        self.report.clips += u64::from(!matches!(found, Seen::Skipped));
        let mut findings: Vec<(&str, String)> = Vec::new();
        match found {
            Seen::Skipped => return,
            Seen::Bad(finding, detail) => findings.push((finding, detail)),
            Seen::Sound(content) => {
                let hash = blake3::hash(content.as_bytes());
                let mut short = [0; 16];
                short.copy_from_slice(&hash.as_bytes()[..16]);
                let first = self
                    .known
                    .entry(u128::from_le_bytes(short))
                    .or_insert_with(|| row.clip.clone());
                if *first != row.clip {
                    findings.push(("duplicate", first.clone()));
                }
            }
        }
        if row
            .licence
            .as_deref()
            .is_none_or(|licence| licence.trim().is_empty())
        {
            findings.push(("licence", "none given".to_owned()));
        }
        let rows = findings.into_iter().map(|(finding, detail)| AuditRow {
            clip: row.clip.clone(),
            path: Some(row.path.clone()),
            finding: finding.to_owned(),
            detail,
            licence: row.licence.clone(),
        });
        self.report.findings.extend(rows);
    }
}

fn claim<'a>(next: &AtomicUsize, batch: &'a [Listing]) -> Option<(usize, &'a Listing)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    Some((at, batch.get(at)?))
}

fn look(root: &Path, row: &Listing, full: bool) -> Seen {
    let path = root.join(&row.path);
    let span = Span {
        start: row.start,
        end: row.end,
    };
    let limits = Limits::default();
    let bad = |error: omni_media::Error| match error.reason() {
        "not_found" => Seen::Bad("missing", "not_found".to_owned()),
        reason => Seen::Bad("undecodable", reason.to_owned()),
    };
    let info = match omni_media::probe(&path, &span, &limits) {
        Ok(info) => info,
        Err(error) => return bad(error),
    };
    match &info.audio {
        None => return Seen::Bad("silent", "no_audio".to_owned()),
        Some(audio) if audio.peak < SILENCE => return Seen::Bad("silent", "silent".to_owned()),
        Some(audio) if differs(row, audio.seconds) => {
            return Seen::Bad("undecodable", "bad_audio".to_owned());
        }
        Some(_) => {}
    }
    let mut content = info.identity;
    if full {
        let pictures = |_: omni_media::Frame<'_>| ControlFlow::Continue(());
        let decoded = info
            .video
            .map(|_| omni_media::read_frames(&path, &span, &limits, &mut { pictures }));
        if let Some(Err(error)) = decoded {
            return bad(error);
        }
        content = match whole_hash(&path) {
            Ok(hash) => hash,
            Err(error) => return bad(error),
        };
    }
    Seen::Sound(format!("{content} {:?} {:?}", row.start, row.end))
}

/// Whether the corpus gives another length.
fn differs(row: &Listing, seconds: f64) -> bool {
    let given = row.scores.iter().find(|score| score.name == "duration");
    given.is_some_and(|given| (given.value - seconds).abs() > LENGTH)
}

fn whole_hash(path: &Path) -> Result<String, omni_media::Error> {
    let mut hasher = blake3::Hasher::new();
    let read = hasher.update_reader(Window::open(path)?).map(|_| ());
    read.map_err(|error| omni_media::Error::Unreadable {
        path: path.into(),
        message: error.to_string(),
    })?;
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_media::{Waveform, wav_s16};
    use serde_json::Value;

    struct Corpus(Vec<Result<Listing, (&'static str, &'static str)>>);

    impl Source for Corpus {
        fn name(&self) -> &'static str {
            "toy"
        }

        fn settings(&self) -> Value {
            Value::Null
        }

        fn list(&self, sink: &mut dyn ListingSink) -> Result<(), SourceError> {
            self.0.iter().try_for_each(|row| match row {
                Ok(row) => sink.keep(row.clone()),
                Err((key, reason)) => sink.drop(key, reason),
            })
        }
    }

    fn row(clip: &str, path: &str, licence: Option<&str>) -> Listing {
        Listing {
            clip: clip.into(),
            path: path.into(),
            licence: licence.map(str::to_owned),
            ..Listing::default()
        }
    }

    fn tone(pitch: f32, gain: f32) -> Vec<u8> {
        let samples = (0..24_000).map(|at| (at as f32 * pitch).sin() * gain).collect();
        wav_s16(&Waveform {
            rate: 24_000,
            samples,
        })
    }

    #[test]
    fn every_kind_of_finding_has_its_word() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        write("a.wav", &tone(0.1, 0.5));
        write("b.wav", &tone(0.2, 0.5));
        write("again.wav", &tone(0.1, 0.5));
        write("silent.wav", &tone(0.1, 0.0));
        write("broken.wav", b"no sound");
        let by = Some("CC-BY-4.0");
        let long = Listing {
            scores: vec![omni_schemas::NamedScore {
                name: "duration".into(),
                value: 1.4,
            }],
            ..row("long", "b.wav", by)
        };
        let half = Listing {
            end: Some(0.5),
            ..row("half", "a.wav", by)
        };
        let corpus = Corpus(vec![
            Ok(row("a", "a.wav", by)),
            Ok(row("free", "b.wav", None)),
            Ok(row("again", "again.wav", by)),
            Ok(half),
            Ok(row("silent", "silent.wav", by)),
            Ok(row("broken", "broken.wav", by)),
            Ok(long),
            Ok(row("gone", "gone.wav", by)),
            Err(("x", "missing_media")),
            Err(("y", "orphan_media")),
            Err(("z", "duplicate_id")),
            Err(("t", "truncated_shard")),
            Err(("f", "filtered:aesthetic.min")),
        ]);
        for full in [false, true] {
            let options = Options { full, threads: 3 };
            let report = audit(&corpus, dir.path(), options, &Cancel::default()).unwrap();
            let mut told: Vec<_> = report
                .findings
                .iter()
                .map(|row| (row.clip.as_str(), row.finding.as_str(), row.detail.as_str()))
                .collect();
            told.sort_unstable();
            let wanted = [
                ("again", "duplicate", "a"),
                ("broken", "undecodable", "unreadable"),
                ("free", "licence", "none given"),
                ("gone", "missing", "not_found"),
                ("long", "undecodable", "bad_audio"),
                ("silent", "silent", "silent"),
                ("t", "index", "truncated_shard"),
                ("x", "missing", "missing_media"),
                ("y", "orphan", "orphan_media"),
                ("z", "duplicate", "duplicate_id"),
            ];
            assert_eq!(told, wanted);
            assert_eq!((report.clips, report.filtered), (8, 1));
        }
        let sound = Corpus(vec![Ok(row("a", "a.wav", by))]);
        let options = Options {
            full: false,
            threads: 1,
        };
        assert!(
            audit(&sound, dir.path(), options, &Cancel::default())
                .unwrap()
                .findings
                .is_empty()
        );
    }
}
