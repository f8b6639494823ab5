//! What the page is told of each claim, and the sounds that go with it.

use super::{Claim, Claims};
use crate::{
    finished::{Error, Known, Shard, as_blob, receipts, shard},
    report::{card, place},
};
use omni_manifests::{ListingReader, read_blob};
use omni_pipeline::readers::Run;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The cards of a sample, in its order.
pub(super) struct Cards {
    pub(super) cards: Vec<Value>,
    /// The reference voice of a claim, by its id.
    pub(super) voices: BTreeMap<String, Vec<u8>>,
}

/// Reads every shard that has a claim once.
pub(super) fn make(run: &Run, claims: &Claims) -> Result<Cards, Error> {
    let mut listing = ListingReader::open(&run.listing())?;
    let (mut by_id, mut voices) = (BTreeMap::new(), BTreeMap::new());
    let shards: BTreeSet<usize> = claims.claims.iter().map(|claim| claim.shard).collect();
    for number in shards {
        let whole = shard(run, &mut listing, number, &receipts(run, number)?)?;
        let clips: BTreeMap<&str, &Known> = whole
            .clips
            .iter()
            .map(|known| (known.listing.clip.as_str(), known))
            .collect();
        for claim in claims.claims.iter().filter(|claim| claim.shard == number) {
            let Some(known) = clips.get(claim.clip.as_str()) else {
                continue;
            };
            let voice = voice(claim, known, &whole);
            by_id.insert(claim.id.clone(), show(claim, known, &whole, voice.is_some()));
            voices.extend(voice.map(|bytes| (claim.id.clone(), bytes)));
        }
    }
    let cards = claims.claims.iter().filter_map(|claim| by_id.remove(&claim.id));
    Ok(Cards {
        cards: cards.collect(),
        voices,
    })
}

/// Neither route nor margin: they would be judged in the claim's place.
fn show(claim: &Claim, known: &Known, shard: &Shard, voice: bool) -> Value {
    let own = |record: &str| {
        let rows = known.all(record).iter();
        rows.filter(|row| row["subject"].as_i64() == Some(claim.subject))
    };
    let clip = known.one("clip");
    let about = |name: &str| clip.map_or(Value::Null, |row| row[name].clone());
    let transcript = known.one("transcript").map(|row| row["segments"].clone());
    json!({
        "id": claim.id,
        "clip": claim.clip,
        "subject": claim.subject,
        "speaker": claim.speaker,
        "src": place::below(&known.listing.path),
        "start": known.listing.start,
        "end": known.listing.end,
        "seconds": about("seconds"),
        "fps": about("fps"),
        "width": about("width"),
        "height": about("height"),
        "faces": own("face_ref")
            .map(|row| card::face(row, shard)["image"].clone())
            .filter(|image| !image.is_null())
            .collect::<Vec<_>>(),
        "tracks": own("track").map(|row| card::track(row)["f"].clone()).collect::<Vec<_>>(),
        "segments": transcript.unwrap_or_else(|| json!([])),
        "voice": voice,
    })
}

fn voice(claim: &Claim, known: &Known, shard: &Shard) -> Option<Vec<u8>> {
    let row = known
        .all("voice_ref")
        .iter()
        .find(|row| row["speaker"].as_str() == Some(&claim.speaker))?;
    read_blob(shard.tars.get("voice_ref")?, &as_blob(&row["audio"])?).ok()
}
