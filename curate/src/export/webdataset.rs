//! WebDataset: tars whose members belong together when their names are equal up to the first dot.
//!
//! `KEY.json` (the whole row), `KEY.mp4` (the media file under its own extension), `KEY.txt` (the prompt),
//! `KEY.sub1.png`, `KEY.sub1.wav`. Keys hold no dot. Members of a key follow each other, and the tars are the same
//! whenever the clips are.

use super::{Item, Media, Writer, folder::Staging};
use crate::finished::Error;
use omni_manifests::PackWriter;
use omni_schemas::Blob;
use serde_json::{Value, json};

/// Clips of one tar at most.
const CLIPS: u64 = 1000;
/// A tar ends behind this many bytes.
const BYTES: u64 = 1 << 30;

/// `clips-000000.tar` and so on.
#[derive(Default)]
pub(super) struct Webdataset {
    tar: Option<PackWriter>,
    tars: u64,
    clips: u64,
    bytes: u64,
}

impl Webdataset {
    fn put(&mut self, staging: &Staging, name: String, bytes: &[u8]) -> Result<(), Error> {
        if self.tar.is_none() {
            let path = staging.path(&format!("clips-{:06}.tar", self.tars))?;
            self.tar = Some(PackWriter::create(&path)?);
            (self.clips, self.bytes) = (0, 0);
            self.tars += 1;
        }
        if let Some(tar) = &mut self.tar {
            let mut blob = Blob {
                name,
                ..Blob::default()
            };
            tar.append(&mut blob, bytes)?;
            self.bytes += blob.length;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        if let Some(tar) = self.tar.take() {
            tar.finish()?;
        }
        Ok(())
    }
}

impl Writer for Webdataset {
    fn add(&mut self, item: &Item, staging: &Staging) -> Result<(), Error> {
        let mut row = item.row.clone();
        if staging.media_kind() != Media::None {
            row.insert("video".into(), json!(item.file()));
        }
        let names: Vec<String> = item.extras.iter().map(|extra| item.extra_file(extra)).collect();
        row.insert("references".into(), json!(names));
        self.put(
            staging,
            format!("{}.json", item.stem),
            Value::Object(row).to_string().as_bytes(),
        )?;
        self.put(staging, format!("{}.txt", item.stem), item.prompt.as_bytes())?;
        for (extra, name) in item.extras.iter().zip(names) {
            self.put(staging, name, &extra.bytes)?;
        }
        if staging.media_kind() != Media::None {
            let bytes = omni_media::read_window(&item.media, u64::MAX)?;
            self.put(staging, item.file(), &bytes)?;
        }
        self.clips += 1;
        if self.clips >= CLIPS || self.bytes >= BYTES {
            self.close()?;
        }
        Ok(())
    }

    fn finish(&mut self, _: &Staging) -> Result<(), Error> {
        self.close()
    }
}
