//! The folder of made clips: mp4 (or frames and sound), preview, latents, settings, and what `omni bench` reads.

use super::{jobs::Job, request::Prepared, there};
use crate::exit::usage;
use anyhow::Context;
use omni_manifests::{fingerprint, write_file};
use omni_media::{Image, Waveform, png, wav_s16};
use omni_model::{
    checkpoint::{Checkpoint, Origin},
    codec::{FPS, SAMPLE_RATE, pictures},
    generate::{GuidanceMode, Made, Picture, Place, Request},
};
use omni_schemas::{Case, Generation, Record};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Whether this build writes mp4 files.
pub const WRITES_MP4: bool = cfg!(feature = "ffmpeg");
/// What a clip is called in `omni bench`: made as a whole, pictures and sound together.
const PARADIGM: &str = "joint";
/// Ending of a folder of frames.
pub const FRAMES: &str = "frames";

/// Where clips go.
pub struct Folder {
    path: PathBuf,
    rows: Vec<Generation>,
}

impl Folder {
    /// Makes the folder with `method.toml`, and `cases.jsonl` with all cases.
    pub fn create(path: &Path, method: &str, jobs: &[Job], seeds: &[u32]) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("{}", path.display()))?;
        omni_manifests::sweep_temporaries(path)?;
        let path = std::path::absolute(path)?;
        let mut rows = Vec::new();
        for job in jobs {
            for seed in seeds {
                let seed = (seeds.len() > 1).then_some(*seed);
                rows.push(generation(method, &job.case, seed));
            }
        }
        let folder = Self { path, rows };
        folder.add_cases(jobs)?;
        let method_file = toml::to_string(&BTreeMap::from([("method", method), ("paradigm", PARADIGM)]))?;
        write_file(&folder.path.join("method.toml"), method_file.as_bytes())?;
        Ok(folder)
    }

    /// Writes `cases.jsonl`: the cases that were there and the new ones, in that order.
    fn add_cases(&self, jobs: &[Job]) -> anyhow::Result<()> {
        let path = self.path.join("cases.jsonl");
        let cases: Vec<&Case> = jobs.iter().map(|job| &job.case).collect();
        add_lines(&path, &cases)
    }

    /// The name of a clip's files without their endings.
    pub fn stem(&self, case: &str, seed: Option<u32>) -> String {
        match seed {
            Some(seed) => format!("{case}.{seed}"),
            None => case.to_owned(),
        }
    }

    fn file(&self, stem: &str, ending: &str) -> PathBuf {
        self.path.join(format!("{stem}.{ending}"))
    }

    /// How a clip stands against what is asked for.
    pub fn state(&self, stem: &str, settings: &Value, frames: bool) -> there::State {
        there::state(&self.path, stem, settings, frames)
    }

    /// Writes `generations.jsonl`, a row for each clip.
    pub fn finish(&self) -> anyhow::Result<()> {
        let path = self.path.join("generations.jsonl");
        let rows: Vec<&Generation> = self.rows.iter().collect();
        add_lines(&path, &rows)
    }
}

/// Writes records behind those of other names that the file holds already. A line that is no such record is nothing to
/// throw away: the file stays as it is, and the line is named.
fn add_lines<R: Record>(path: &Path, new: &[&R]) -> anyhow::Result<()> {
    let old = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.with_context(|| path.display().to_string())?,
    };
    let mut text = String::new();
    for (number, line) in old.lines().enumerate() {
        let there: R = serde_json::from_str(line).map_err(|error| {
            usage(format!(
                "{}: line {} is no {} ({error}); take it out, or give another --out",
                path.display(),
                number + 1,
                R::NAME
            ))
        })?;
        if !new.iter().any(|new| new.key() == there.key()) {
            text.push_str(line);
            text.push('\n');
        }
    }
    for new in new {
        text.push_str(&serde_json::to_string(new)?);
        text.push('\n');
    }
    Ok(write_file(path, text.as_bytes())?)
}

fn generation(method: &str, case: &Case, seed: Option<u32>) -> Generation {
    let suffix = seed.map(|seed| format!(".{seed}")).unwrap_or_default();
    Generation {
        generation: format!("{method}/{}{suffix}", case.case),
        method: method.to_owned(),
        paradigm: PARADIGM.to_owned(),
        case: case.case.clone(),
        seed: seed.map(i64::from),
        media: format!("{}{suffix}.mp4", case.case),
        given: case.clone(),
    }
}

/// Everything that decides what comes out.
pub fn settings(
    checkpoint: &Checkpoint,
    request: &Request,
    place: &Place,
    found: &Prepared,
) -> anyhow::Result<Value> {
    let config = &checkpoint.config;
    Ok(json!({
        "checkpoint": {
            "preset": config.preset, "origin": config.origin, "codec": config.codec, "weights": checkpoint.identity()?,
        },
        "prompt": request.prompt, "negative_video": request.negative_video, "negative_audio": request.negative_audio,
        "subjects": request.subjects.iter().map(|subject| &subject.anchor).collect::<Vec<_>>(),
        "files": found.files,
        "width": request.width, "height": request.height, "latent_frames": request.frames, "audio_latents": request.sounds,
        "steps": request.steps, "solver": request.solver, "shift": request.shift,
        "guidance_video": request.guidance_video, "guidance_audio": request.guidance_audio,
        "guidance": match request.guidance_mode { GuidanceMode::Ovi => "ovi", GuidanceMode::Ref3 => "ref3" },
        "slg_layer": request.slg_layer, "seed": request.seed,
        "device": place.device, "dtype": place.precision.name(),
        "omni_version": env!("CARGO_PKG_VERSION"),
    }))
}

/// What the file says of itself: that it was made, and by what.
pub fn mark(settings: &Value) -> String {
    format!(
        "generated by omni {} (not a recording): checkpoint {} {}, codec {}, seed {}",
        env!("CARGO_PKG_VERSION"),
        settings["checkpoint"]["preset"].as_str().unwrap_or_default(),
        settings["checkpoint"]["weights"]
            .as_str()
            .unwrap_or_default()
            .get(..16)
            .unwrap_or_default(),
        settings["checkpoint"]["codec"].as_str().unwrap_or_default(),
        settings["seed"]
    )
}

/// Where the pictures of one clip go while they come.
enum Pictures {
    #[cfg(feature = "ffmpeg")]
    Mp4(Box<omni_media::ClipWriter>),
    Frames(Unfinished),
}

/// The pictures of a clip that is done.
enum Media {
    #[cfg(feature = "ffmpeg")]
    Mp4(Vec<u8>),
    Frames(Unfinished),
}

/// A folder that goes unless it is renamed.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One clip on its way to the disk.
pub struct Sink<'a> {
    folder: &'a Folder,
    stem: String,
    pictures: Pictures,
    count: usize,
    preview_at: usize,
    preview: Option<Vec<u8>>,
}

impl<'a> Sink<'a> {
    pub fn new(folder: &'a Folder, stem: &str, request: &Request, frames: bool) -> anyhow::Result<Self> {
        let pictures_in_all = pictures(request.frames);
        let path = folder.path.join(format!(".{stem}.{FRAMES}.unfinished"));
        let _ = fs::remove_dir_all(&path); // of a run that was killed
        let pictures = if frames {
            fs::create_dir_all(&path).with_context(|| format!("{}", path.display()))?;
            Pictures::Frames(Unfinished(path))
        } else {
            mp4(request)?
        };
        Ok(Self {
            folder,
            stem: stem.to_owned(),
            pictures,
            count: 0,
            preview_at: pictures_in_all / 2,
            preview: None,
        })
    }

    /// Takes the next picture.
    pub fn picture(&mut self, picture: Picture) -> anyhow::Result<()> {
        let image = Image {
            width: picture.width,
            height: picture.height,
            data: picture.rgb,
        };
        if self.count == self.preview_at {
            self.preview = Some(png(&image)?);
        }
        self.count += 1;
        match &mut self.pictures {
            #[cfg(feature = "ffmpeg")]
            Pictures::Mp4(writer) => writer.picture(&image)?,
            Pictures::Frames(folder) => {
                write_file(&folder.0.join(format!("{:06}.png", self.count)), &png(&image)?)?;
            }
        }
        Ok(())
    }

    /// Removes the clip that was there under this name and writes this one; the JSON goes first and comes last, so that a clip
    /// is there whole or not at all.
    pub fn finish(self, made: &Made, settings: Value, notes: &[String]) -> anyhow::Result<()> {
        let Self {
            folder,
            stem,
            pictures,
            preview,
            ..
        } = self;
        let sound = Waveform {
            rate: SAMPLE_RATE as u32,
            samples: made.sound.clone(),
        };
        // what can fail without the disk fails before anything is removed
        let media = match pictures {
            #[cfg(feature = "ffmpeg")]
            Pictures::Mp4(writer) => Media::Mp4(writer.finish(&sound, &mark(&settings))?),
            Pictures::Frames(unfinished) => Media::Frames(unfinished),
        };
        there::remove(&folder.path, &stem)?;
        let mut paths = Vec::new();
        let mut write = |ending: &str, bytes: &[u8]| -> anyhow::Result<()> {
            paths.push(folder.file(&stem, ending));
            Ok(write_file(&folder.file(&stem, ending), bytes)?)
        };
        write("wav", &wav_s16(&sound))?;
        write("safetensors", &made.latents)?;
        if let Some(preview) = preview {
            write("png", &preview)?;
        }
        let media = match media {
            #[cfg(feature = "ffmpeg")]
            Media::Mp4(bytes) => {
                write("mp4", &bytes)?;
                folder.file(&stem, "mp4")
            }
            Media::Frames(unfinished) => {
                let path = folder.file(&stem, FRAMES);
                fs::rename(&unfinished.0, &path).with_context(|| format!("{}", path.display()))?;
                paths.push(path.clone());
                path
            }
        };
        let told = json!({
            "generated": true,
            "mark": mark(&settings),
            "media": media.file_name().map(|name| name.to_string_lossy()),
            "files": there::marks(&folder.path, &paths)?,
            "pictures": made.pictures, "pictures_per_second": FPS,
            "video_seconds": made.pictures as f64 / FPS as f64,
            "audio_seconds": made.sound.len() as f64 / SAMPLE_RATE as f64,
            "text_tokens": made.text_tokens,
            "latents_blake3": made.latents_hash,
            "noise": settings["checkpoint"]["origin"] == json!(Origin::Init),
            "notes": notes,
            "seconds": made.seconds,
            "request_hash": fingerprint(&settings),
            "request": settings,
        });
        let text = serde_json::to_string_pretty(&told)?;
        Ok(write_file(&folder.file(&stem, "json"), text.as_bytes())?)
    }
}

#[cfg(feature = "ffmpeg")]
fn mp4(request: &Request) -> anyhow::Result<Pictures> {
    let writer = omni_media::ClipWriter::new(request.width, request.height, FPS as u32)?;
    Ok(Pictures::Mp4(Box::new(writer)))
}

#[cfg(not(feature = "ffmpeg"))]
fn mp4(_: &Request) -> anyhow::Result<Pictures> {
    Err(crate::exit::missing(
        "this `omni` was built without `ffmpeg`: give --frames",
    ))
}
