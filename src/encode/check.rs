//! Decodes encoded clips back, to be looked at.

use crate::clip_name::clip_name;
use anyhow::Context;
use omni_manifests::{read_blob, read_part};
use omni_media::{ClipWriter, Image, Waveform, wav_s16};
use omni_model::{
    codec::{FPS, SAMPLE_RATE},
    train::{Encoder, Sample},
};
use omni_pipeline::readers::Run;
use omni_schemas::{Latents, Record};
use std::path::{Path, PathBuf};

/// Writes the first `most` clips of an output of `omni encode` as they come back from their latents to `OUT/check`; gives the files.
pub fn decode(encoder: &Encoder, out: &Path, most: usize) -> anyhow::Result<Vec<PathBuf>> {
    let run = Run::open(out)?;
    let folder = out.join("check");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let mut written = Vec::new();
    for part in run.record_parts(Latents::NAME)? {
        let (rows, _) = read_part::<Latents>(&part)?;
        for row in rows {
            if written.len() == most {
                return Ok(written);
            }
            let bytes = read_blob(&part.with_extension("tar"), &row.tensors)?;
            let sample = Sample::from_bytes(&row.clip, &bytes)?;
            let (name, bytes) = file(encoder, &row, &sample)?;
            let path = folder.join(name);
            omni_manifests::write_file(&path, &bytes).with_context(|| path.display().to_string())?;
            written.push(path);
        }
    }
    Ok(written)
}

/// The clip as a file: MP4, or a wave file for sound alone.
fn file(encoder: &Encoder, row: &Latents, sample: &Sample) -> anyhow::Result<(String, Vec<u8>)> {
    let name = clip_name(&row.clip, |c| !matches!(c, '/' | '\\'));
    let (pictures, samples) = encoder.decode(sample)?;
    let sound = Waveform {
        rate: SAMPLE_RATE as u32,
        samples,
    };
    if pictures.frames.is_empty() {
        return Ok((format!("{name}.wav"), wav_s16(&sound)));
    }
    let mark = format!("decoded from latents of the codec `{}`", encoder.codec());
    let mut writer = ClipWriter::new(pictures.width, pictures.height, FPS as u32)?;
    for data in pictures.frames {
        writer.picture(&Image {
            width: pictures.width,
            height: pictures.height,
            data,
        })?;
    }
    Ok((format!("{name}.mp4"), writer.finish(&sound, &mark)?))
}
