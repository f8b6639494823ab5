//! `omni mux`: mp4 files of frames and sound that were written without FFmpeg.

use crate::{
    cli::MuxArgs,
    exit::{Code, missing, usage},
    output,
};
use anyhow::Context;
use omni_manifests::write_file;
use omni_media::{ClipWriter, Image, Waveform, decode_picture, read_audio_file};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Ending of a folder of frames.
const FRAMES: &str = "frames";

/// Runs the command.
pub fn run(args: &MuxArgs) -> anyhow::Result<Code> {
    if !args.dir.is_dir() {
        return Err(missing(format!("there is no folder {}", args.dir.display())));
    }
    let mut folders = listed(&args.dir)?;
    folders.retain(|path| path.is_dir() && path.extension().is_some_and(|ending| ending == FRAMES));
    if folders.is_empty() {
        let dir = args.dir.display();
        return Err(usage(format!(
            "{dir} holds no frames: `omni sample --frames` writes NAME.{FRAMES}"
        )));
    }
    for folder in &folders {
        let path = mux(folder).with_context(|| format!("{}", folder.display()))?;
        output::line(&format!("{}", path.display()))?;
    }
    Ok(Code::Done)
}

fn listed(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("{}", dir.display()))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    Ok(paths)
}

/// Makes `NAME.mp4` of `NAME.frames`, `NAME.wav` and the mark and rate in `NAME.json`.
fn mux(frames: &Path) -> anyhow::Result<PathBuf> {
    let json = frames.with_extension("json");
    let text = fs::read(&json).with_context(|| format!("{}", json.display()))?;
    let told: Value = serde_json::from_slice(&text).with_context(|| format!("{}", json.display()))?;
    let (Some(mark), Some(fps), Some(count)) = (
        told["mark"].as_str(),
        told["pictures_per_second"]
            .as_u64()
            .and_then(|fps| u32::try_from(fps).ok()),
        told["pictures"].as_u64(),
    ) else {
        anyhow::bail!("{} is not what `omni sample` writes", json.display());
    };
    let mut writer: Option<ClipWriter> = None;
    for number in 1..=count {
        let path = frames.join(format!("{number:06}.png"));
        let bytes = fs::read(&path).with_context(|| format!("{}", path.display()))?;
        let image: Image = decode_picture(&bytes).with_context(|| format!("{}", path.display()))?;
        let open = match &mut writer {
            Some(open) => open,
            None => writer.insert(ClipWriter::new(image.width, image.height, fps)?),
        };
        open.picture(&image)?;
    }
    let writer = writer.context("no picture")?;
    let wave = sound(&frames.with_extension("wav"), &told)?;
    let path = frames.with_extension("mp4");
    write_file(&path, &writer.finish(&wave, mark)?)?;
    Ok(path)
}

/// The sound beside the frames. Fails if it is shorter than the clip's JSON says, as a file is that was cut off.
fn sound(path: &Path, told: &Value) -> anyhow::Result<Waveform> {
    let wave = read_audio_file(path)?.mono();
    let seconds = wave.samples.len() as f64 / f64::from(wave.rate);
    let Some(wanted) = told["audio_seconds"].as_f64() else {
        anyhow::bail!("the JSON beside {} tells no audio_seconds", path.display());
    };
    // half a sample: lengths are compared, not how they were rounded
    if seconds + 0.5 / f64::from(wave.rate) < wanted {
        anyhow::bail!(
            "{} holds {seconds:.4} s of sound and was made with {wanted:.4} s: it was cut off; make the clip again with \
             `omni sample --frames`",
            path.display()
        );
    }
    Ok(wave)
}
