//! One clip as the formats see it.

use super::{Media, Options};
use crate::finished::{Error, Known, Row, Shard, as_blob};
use omni_manifests::read_blob;
use omni_pipeline::readers::Run;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// A picture or sound that goes along.
#[derive(Debug, Clone)]
pub struct Extra {
    /// `sub1` for a face or the voice bound to it, the speaker's name for a voice without a face; in lower case.
    pub who: String,
    /// `png` or `wav`.
    pub kind: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A clip to be exported.
#[derive(Debug, Clone)]
pub struct Item {
    /// A name for its files: letters, digits, `-` and `_`; no dot, and different for different clips.
    pub stem: String,
    /// Extension of the media file, without the dot, in lower case.
    pub extension: String,
    /// The media file.
    pub media: PathBuf,
    /// The prompt.
    pub prompt: String,
    /// Pictures a second.
    pub fps: f64,
    /// Licence of the clip, where the corpus tells.
    pub licence: Option<String>,
    /// Everything else, as one row; file names are filled in by the format.
    pub row: Map<String, Value>,
    /// Faces and voices.
    pub extras: Vec<Extra>,
}

impl Item {
    /// Gathers what the shard holds of a clip.
    pub(super) fn new(known: &Known, shard: &Shard, run: &Run, options: &Options) -> Result<Item, Error> {
        let listing = &known.listing;
        let caption = known.one("omni_caption");
        let prompt = caption
            .and_then(|row| row["prompt"].as_str())
            .unwrap_or_default()
            .to_owned();
        let clip = known.one("clip");
        let extension = Path::new(&listing.path)
            .extension()
            .map(|kind| kind.to_string_lossy().to_lowercase());
        let extension: String = extension
            .unwrap_or_default()
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        let media = options.root.join(&listing.path);
        let mut row = Map::new();
        let field =
            |row: Option<&Row>, name: &str| row.and_then(|row| row.get(name)).cloned().unwrap_or_default();
        row.insert("clip".into(), json!(listing.clip));
        row.insert(
            "video".into(),
            json!((options.media == Media::None).then_some(&media)),
        );
        row.insert("start".into(), json!(listing.start));
        row.insert("end".into(), json!(listing.end));
        row.insert("prompt".into(), json!(prompt));
        for name in ["width", "height", "fps", "frames", "seconds"] {
            row.insert(name.into(), field(clip, name));
        }
        for name in ["descriptors", "utterances"] {
            row.insert(name.into(), field(caption, name));
        }
        row.insert("segments".into(), field(known.one("transcript"), "segments"));
        row.insert("subjects".into(), subjects(known));
        row.insert("offscreen".into(), field(known.one("binding"), "offscreen"));
        let scores = listing
            .scores
            .iter()
            .map(|score| (score.name.clone(), json!(score.value)));
        row.insert("scores".into(), Value::Object(scores.collect()));
        row.insert("licence".into(), json!(listing.licence));
        row.insert("source".into(), json!(run.file().source));
        row.insert("source_video".into(), json!(listing.source_video));
        Ok(Item {
            stem: stem(&listing.clip),
            extension: if extension.is_empty() {
                "mp4".into()
            } else {
                extension
            },
            media,
            prompt,
            fps: clip.and_then(|row| row["fps"].as_f64()).unwrap_or_default(),
            licence: listing.licence.clone(),
            row,
            extras: extras(known, shard)?,
        })
    }

    /// The media file's name in an export.
    pub(super) fn file(&self) -> String {
        format!("{}.{}", self.stem, self.extension)
    }

    /// Name of an extra's file, below the clip's stem.
    pub(super) fn extra_file(&self, extra: &Extra) -> String {
        format!("{}.{}.{}", self.stem, extra.who, extra.kind)
    }
}

fn bound(known: &Known) -> &[Value] {
    let binding = known.one("binding").and_then(|row| row["subjects"].as_array());
    binding.map_or(&[], Vec::as_slice)
}

fn subjects(known: &Known) -> Value {
    let one = |subject: &Value| {
        json!({ "subject": subject["subject"], "anchor": format!("<sub{}>", subject["subject"]),
                "speaker": subject["speaker"], "margin": subject["margin"] })
    };
    bound(known).iter().map(one).collect()
}

fn extras(known: &Known, shard: &Shard) -> Result<Vec<Extra>, Error> {
    let mut extras = Vec::new();
    let mut take = |record: &str, column: &str, kind, who: &dyn Fn(&Row) -> String| {
        for row in known.all(record) {
            if let Some((blob, tar)) = as_blob(&row[column]).zip(shard.tars.get(record)) {
                let bytes = read_blob(tar, &blob)?;
                extras.push(Extra {
                    who: who(row),
                    kind,
                    bytes,
                });
            }
        }
        Ok::<_, Error>(())
    };
    take("face_ref", "image", "png", &|row| {
        format!("sub{}", row["subject"])
    })?;
    take("voice_ref", "audio", "wav", &|row| {
        let face = bound(known)
            .iter()
            .find(|subject| subject["speaker"] == row["speaker"]);
        match face {
            Some(subject) => format!("sub{}", subject["subject"]),
            None => plain(row["speaker"].as_str().unwrap_or_default()).to_lowercase(),
        }
    })?;
    Ok(extras)
}

fn plain(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.chars().map(|c| if allowed(c) { c } else { '_' }).collect()
}

/// A key that is a plain name already stays; any other is made plain, cut, and told apart by digits of its hash.
fn stem(key: &str) -> String {
    const LONGEST: usize = 80;
    let plain = plain(key);
    if plain == key && key.len() <= LONGEST && !key.is_empty() {
        return plain;
    }
    let hash = blake3::hash(key.as_bytes()).to_hex();
    format!("{}-{}", &plain[..plain.len().min(LONGEST)], &hash[..8])
}

#[cfg(test)]
mod tests {
    use super::stem;

    #[test]
    fn stems_are_plain_different_and_short() {
        assert_eq!(stem("abc-1_x"), "abc-1_x");
        let odd = [
            "a.b",
            "a_b",
            "a/b",
            "../../etc",
            "é",
            &"x".repeat(300),
            "",
            "-",
            "a b",
        ];
        let stems: std::collections::BTreeSet<String> = odd.iter().map(|key| stem(key)).collect();
        assert_eq!(stems.len(), odd.len());
        for stem in stems {
            assert!(stem.len() < 100 && !stem.contains(['.', '/', ' ']), "{stem}");
        }
    }
}
