//! A Croissant 1.0 description (JSON-LD) of the JSON lines: files, their hashes, and the columns of a record set.

use super::{Item, Writer, folder::Staging, jsonl::Jsonl};
use crate::finished::Error;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Columns a reader can take as they are; what nests is in the lines only.
const FIELDS: &[(&str, &str, &str)] = &[
    ("clip", "sc:Text", "key of the clip"),
    (
        "video",
        "sc:Text",
        "media file below the dataset, or its full path where media stayed where they were",
    ),
    (
        "start",
        "sc:Float",
        "start inside the file, seconds; absent: its beginning",
    ),
    ("end", "sc:Float", "end inside the file, seconds; absent: its end"),
    (
        "prompt",
        "sc:Text",
        "the whole prompt, with anchors and utterances",
    ),
    ("width", "sc:Integer", "pixels, after rotation"),
    ("height", "sc:Integer", "pixels, after rotation"),
    ("fps", "sc:Float", "pictures a second"),
    ("frames", "sc:Integer", "pictures"),
    ("seconds", "sc:Float", "length, seconds"),
    (
        "licence",
        "sc:Text",
        "licence of the clip, where the corpus tells",
    ),
    ("source", "sc:Text", "kind of corpus"),
    (
        "source_video",
        "sc:Text",
        "the video the clip was cut from, where the corpus tells",
    ),
];

/// `croissant.json` beside what `jsonl` writes.
#[derive(Default)]
pub(super) struct Croissant {
    jsonl: Jsonl,
    licences: BTreeSet<String>,
    sources: BTreeSet<String>,
}

impl Writer for Croissant {
    fn add(&mut self, item: &Item, staging: &Staging) -> Result<(), Error> {
        self.licences.extend(item.licence.clone());
        self.sources
            .extend(item.row["source"].as_str().map(str::to_owned));
        self.jsonl.add(item, staging)
    }

    fn finish(&mut self, staging: &Staging) -> Result<(), Error> {
        self.jsonl.finish(staging)?;
        let hash = Sha256::digest(self.jsonl.lines.as_bytes());
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = staging
            .to
            .file_name()
            .map_or_else(|| "clips".into(), |name| name.to_string_lossy().into_owned());
        let sources: Vec<&str> = self.sources.iter().map(String::as_str).collect();
        let mut about = json!({
            "@context": context(),
            "@type": "sc:Dataset",
            "name": name,
            "description": format!("Clips of talking people with prompts, curated by omni from {}.", sources.join(", ")),
            "conformsTo": "http://mlcommons.org/croissant/1.0",
            "distribution": [{
                "@type": "cr:FileObject", "@id": "data.jsonl", "name": "data.jsonl", "contentUrl": "data.jsonl",
                "encodingFormat": "application/jsonlines", "sha256": hash,
                "contentSize": format!("{} B", self.jsonl.lines.len()),
            }],
            "recordSet": [{
                "@type": "cr:RecordSet", "@id": "clips", "name": "clips", "key": { "@id": "clips/clip" },
                "description": "One record a clip.",
                "field": FIELDS.iter().map(field).collect::<Vec<_>>(),
            }],
        });
        if !self.licences.is_empty() {
            about["license"] = json!(self.licences);
        }
        staging.write("croissant.json", format!("{about:#}\n").as_bytes())
    }
}

fn field((name, kind, about): &(&str, &str, &str)) -> Value {
    json!({
        "@type": "cr:Field", "@id": format!("clips/{name}"), "name": name, "description": about, "dataType": kind,
        "source": { "fileObject": { "@id": "data.jsonl" }, "extract": { "column": name } },
    })
}

/// The context of the 1.0 specification.
fn context() -> Value {
    let mut context = Map::new();
    let mut put = |name: &str, value: Value| context.insert(name.to_owned(), value);
    put("@language", json!("en"));
    put("@vocab", json!("https://schema.org/"));
    put("cr", json!("http://mlcommons.org/croissant/"));
    put("rai", json!("http://mlcommons.org/croissant/RAI/"));
    put("dct", json!("http://purl.org/dc/terms/"));
    put("sc", json!("https://schema.org/"));
    put("conformsTo", json!("dct:conformsTo"));
    put("data", json!({ "@id": "cr:data", "@type": "@json" }));
    put("dataType", json!({ "@id": "cr:dataType", "@type": "@vocab" }));
    put("examples", json!({ "@id": "cr:examples", "@type": "@json" }));
    for name in [
        "citeAs",
        "column",
        "extract",
        "field",
        "fileProperty",
        "fileObject",
        "fileSet",
        "format",
        "includes",
        "isLiveDataset",
        "jsonPath",
        "key",
        "md5",
        "parentField",
        "path",
        "recordSet",
        "references",
        "regex",
        "repeated",
        "replace",
        "separator",
        "source",
        "subField",
        "transform",
    ] {
        put(name, json!(format!("cr:{name}")));
    }
    Value::Object(context)
}
