//! Which claims are judged: those whose hash with the seed is smallest, so that the same seed gives the same cards and
//! a larger number only adds to them.

use crate::finished::Error;
use omni_pipeline::readers::Run;
use omni_schemas::{Binding, Record};
use serde_json::Value;
use std::{collections::BTreeMap, ops::ControlFlow};

/// One pair of face and voice that a binder claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// 16 hex digits over clip, subject and speaker.
    pub id: String,
    /// The clip.
    pub clip: String,
    /// The person in the picture.
    pub subject: i64,
    /// The voice.
    pub speaker: String,
    /// Who claims it: the row's route, or else its source.
    pub route: String,
    /// Number of its shard.
    pub(crate) shard: usize,
}

/// A sample, and what it was taken from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// In the order they are judged in, which is random.
    pub claims: Vec<Claim>,
    /// Pairs in all.
    pub of: u64,
    /// The fingerprint of the step that made them.
    pub bind: String,
}

/// Takes `most` of the pairs that a run claims.
///
/// # Errors
/// When the run has no bindings, or a part cannot be read.
pub fn sample(run: &Run, seed: u64, most: usize) -> Result<Claims, Error> {
    let entry = run
        .file()
        .stages
        .iter()
        .find(|entry| entry.record == Binding::NAME);
    let entry = entry.ok_or_else(|| Error::Folder {
        path: run.out().to_owned(),
        what: "its run makes no bindings; add a stage that does (`bind`) to its recipe".into(),
    })?;
    let mut best: BTreeMap<(String, String), Claim> = BTreeMap::new();
    let mut of = 0;
    for shard in 0..run.shards().count() {
        let path = run.shard_part(entry, shard);
        if !path.exists() {
            continue;
        }
        omni_manifests::for_each_row(&path, &mut |row| {
            for claim in claims(&Value::Object(row), shard) {
                of += 1;
                best.insert((draw(seed, &claim.id), claim.id.clone()), claim);
                if best.len() > most {
                    best.pop_last();
                }
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(Claims {
        claims: best.into_values().collect(),
        of,
        bind: entry.fingerprint.clone(),
    })
}

fn claims(row: &Value, shard: usize) -> Vec<Claim> {
    let text = |name: &str| row[name].as_str().filter(|text| !text.is_empty());
    let clip = text("clip").unwrap_or_default();
    let route = text("route").or_else(|| text("source")).unwrap_or("unknown");
    let subjects = row["subjects"].as_array().map_or(&[][..], Vec::as_slice);
    let pair = |bound: &Value| {
        let (subject, speaker) = (bound["subject"].as_i64()?, bound["speaker"].as_str()?);
        let about = format!("{clip}\0{subject}\0{speaker}");
        Some(Claim {
            id: blake3::hash(about.as_bytes()).to_hex()[..16].to_owned(),
            clip: clip.to_owned(),
            subject,
            speaker: speaker.to_owned(),
            route: route.to_owned(),
            shard,
        })
    };
    subjects.iter().filter_map(pair).collect()
}

fn draw(seed: u64, id: &str) -> String {
    blake3::hash(format!("{seed}/{id}").as_bytes()).to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_voiced_subject_is_a_claim_of_its_route() {
        let row = serde_json::json!({"clip": "a.mp4", "source": "local", "subjects": [
            {"subject": 1, "speaker": "S2", "margin": 1.0}, {"subject": 2, "speaker": null, "margin": null}]});
        let found = claims(&row, 3);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (
                found[0].subject,
                found[0].speaker.as_str(),
                found[0].route.as_str(),
                found[0].shard
            ),
            (1, "S2", "local", 3)
        );
        let mut routed = row.clone();
        routed["route"] = "gemini".into();
        assert_eq!(claims(&routed, 0)[0].route, "gemini");
        assert_eq!(claims(&routed, 0)[0].id, found[0].id);
        assert_ne!(draw(1, &found[0].id), draw(2, &found[0].id));
    }
}
