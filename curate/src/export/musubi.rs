//! The dataset of musubi-tuner: `dataset.toml` and metadata lines of `video_path` and `caption`.
//!
//! `source_fps` holds for a whole dataset, so clips are put together by their rate. Paths are full ones, because older
//! versions look for relative ones in the working folder only. Other keys of a line are handed on to architectures that
//! know them; `references` and `teacher_caption` are such keys and are not used here.

use super::{Item, Writer, folder::Staging};
use crate::finished::Error;
use serde_json::json;
use std::{collections::BTreeMap, path::PathBuf};

/// `dataset.toml`, `metadata-<rate>.jsonl`, `videos/`; `cache-<rate>/` is named and left to musubi-tuner.
#[derive(Default)]
pub(super) struct Musubi {
    /// Lines by rate as it is written.
    lines: BTreeMap<String, String>,
}

impl Writer for Musubi {
    /// It reads whole files.
    fn tells_stretches(&self) -> bool {
        false
    }

    fn add(&mut self, item: &Item, staging: &Staging) -> Result<(), Error> {
        let path = match staging.media(item)? {
            Some(name) => whole(&staging.to)?.join(name),
            None => item.media.clone(),
        };
        let line = json!({
            "video_path": path, "caption": item.prompt, "clip": item.row["clip"], "licence": item.licence,
            "source": item.row["source"], "source_video": item.row["source_video"],
        });
        let lines = self.lines.entry(rate(item.fps)).or_default();
        *lines += &format!("{line}\n");
        Ok(())
    }

    fn finish(&mut self, staging: &Staging) -> Result<(), Error> {
        let to = whole(&staging.to)?;
        let mut text = String::from(
            "# Made by `omni export`; resolution and frames are a start to be changed.\n[general]\n\
             resolution = [960, 544]\nbatch_size = 1\nenable_bucket = true\nbucket_no_upscale = true\n",
        );
        for (rate, lines) in &self.lines {
            let name = format!("metadata-{rate}.jsonl");
            staging.write(&name, lines.as_bytes())?;
            let quoted = |path: PathBuf| toml::Value::String(path.to_string_lossy().into_owned());
            text += &format!(
                "\n[[datasets]]\nvideo_jsonl_file = {}\ncache_directory = {}\nsource_fps = {rate}\n\
                 frame_extraction = \"full\"\nmax_frames = 129\n",
                quoted(to.join(&name)),
                quoted(to.join(format!("cache-{rate}"))),
            );
        }
        staging.write("dataset.toml", text.as_bytes())
    }
}

fn whole(path: &std::path::Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(Error::io(path))
}

/// A decimal number, as musubi-tuner wants it (`25.0`, not `25`), to the thousandth.
fn rate(fps: f64) -> String {
    let text = format!("{fps:.3}");
    let short = text.trim_end_matches('0');
    if short.ends_with('.') {
        format!("{short}0")
    } else {
        short.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn rates_are_decimal_numbers() {
        assert_eq!(
            (rate(25.0), rate(30000.0 / 1001.0), rate(12.5)),
            ("25.0".into(), "29.97".into(), "12.5".into())
        );
    }
}
