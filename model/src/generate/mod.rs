//! From a request to a clip: text, references, noise, the sampling loop, and back to pictures and sound.
//!
//! The networks run one after the other, and each is dropped when it is done: text encoder, codec, backbone, codec again. With
//! [`Layout::offload`] all but the backbone run on the processor.
//! What goes in and out is plain: RGB bytes, samples, numbers.

mod context;
mod cost;
mod device;
mod guide;
mod picture;
mod request;

pub use cost::{Cost, cost};
pub use device::{Layout, Place, Precision};
pub use picture::{Picture, image_size};
pub use request::{GuidanceMode, Request, Subject, VOICE_LATENTS, nearest_side};
pub(crate) use request::{SIDE_MOST, STEPS_MOST};

use crate::{
    Error, Result,
    checkpoint::Checkpoint,
    codec::{AUDIO_CHANNELS, Codec, SPACE_STRIDE, VIDEO_CHANNELS, clip_bytes},
    net::Latents,
    weights::normal,
};
use candle_core::{Device, Tensor};
use context::Encoded;
use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    time::Instant,
};

/// What goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A part of the work begins: `text`, `encode`, `load`, `denoise`, `decode`.
    Phase(&'static str),
    /// Steps of denoising that are done, and how many there are.
    Step(usize, usize),
    /// Something the user should know: what was cut, what was left out.
    Note(String),
}

/// Shown every event; may ask to stop.
pub type Watch<'a> = &'a mut dyn FnMut(Event) -> ControlFlow<()>;

/// A clip that was made; its pictures went to the caller one by one.
#[derive(Debug, Clone)]
pub struct Made {
    /// Pictures handed out.
    pub pictures: usize,
    /// The sound, mono, 16 kHz.
    pub sound: Vec<f32>,
    /// The latents as a safetensors file: `video` `[48, frames, h, w]` and `audio` `[n, 20]`, f32.
    pub latents: Vec<u8>,
    /// BLAKE3 of `latents`.
    pub latents_hash: String,
    /// Tokens of the prompt, end mark included.
    pub text_tokens: usize,
    /// Seconds of each phase.
    pub seconds: BTreeMap<&'static str, f64>,
}

/// Runs `act` as a phase: told, timed, and stopped before it begins if that was asked.
fn phase<T>(
    name: &'static str,
    seconds: &mut BTreeMap<&'static str, f64>,
    watch: Watch<'_>,
    act: impl FnOnce(Watch<'_>) -> Result<T>,
) -> Result<T> {
    if watch(Event::Phase(name)).is_break() {
        return Err(Error::Stopped);
    }
    let began = Instant::now();
    let done = act(watch)?;
    seconds.insert(name, began.elapsed().as_secs_f64());
    Ok(done)
}

/// Fails on a request that [`generate`] would refuse for what it asks, before any weight is read.
pub fn check(checkpoint: &Checkpoint, request: &Request) -> Result<()> {
    request.check(&checkpoint.config)?;
    // a vocabulary that cannot be read is told now
    checkpoint.vocabulary().map(drop)
}

/// Makes a clip. `picture` is given each picture, in order, when the codec has it.
///
/// Same checkpoint, request, device and precision: same bytes of latents. Fails on a request that cannot be met, on weights
/// that are damaged or of another network, and with [`Error::Stopped`] when `watch` asks for it.
pub fn generate(
    checkpoint: &Checkpoint,
    request: &Request,
    layout: impl Into<Layout>,
    watch: Watch<'_>,
    picture: &mut dyn FnMut(Picture) -> Result<()>,
) -> Result<Made> {
    let layout = layout.into();
    let place = &layout.place;
    let spans = request.check(&checkpoint.config)?;
    let (device, side) = (place.device()?, layout.side()?);
    let mut seconds = BTreeMap::new();
    let text = phase("text", &mut seconds, watch, |watch| {
        context::read(checkpoint, request, &spans, &side, watch)
    })?;
    let references = phase("encode", &mut seconds, watch, |watch| {
        context::encode(checkpoint, request, (&side, &device), watch)
    })?;
    let encoded = Encoded { text, references };
    let network = phase("load", &mut seconds, watch, |_| {
        checkpoint.network(place.precision.dtype(), &device)
    })?;
    let latents = phase("denoise", &mut seconds, watch, |watch| {
        guide::denoise(&network, request, &encoded, (&device, place.precision), watch)
    })?;
    drop(network);
    let (sound, pictures) = phase("decode", &mut seconds, watch, |watch| {
        let latents = latents.to_device(&side)?;
        decode(&*checkpoint.codec(&side)?, &latents, watch, picture)
    })?;
    let bytes = file_of(&latents)?;
    Ok(Made {
        pictures,
        sound,
        latents_hash: blake3::hash(&bytes).to_hex().to_string(),
        latents: bytes,
        text_tokens: encoded.text.positive.tokens.len(),
        seconds,
    })
}

impl Latents {
    fn to_device(&self, device: &Device) -> Result<Self> {
        let there = |x: &Option<Tensor>| x.as_ref().map(|x| x.to_device(device)).transpose();
        Ok(Self {
            video: there(&self.video)?,
            audio: there(&self.audio)?,
        })
    }
}

/// The noise of a seed: the same numbers on every machine.
fn noise(request: &Request, device: &Device) -> Result<Latents> {
    let grid = (request.height / SPACE_STRIDE, request.width / SPACE_STRIDE);
    let video = (VIDEO_CHANNELS, request.frames, grid.0, grid.1);
    let audio = (request.sounds, AUDIO_CHANNELS);
    let values = |name: &str, count: usize| normal(name, request.seed, count, 1.0);
    let count = video.0 * video.1 * video.2 * video.3;
    Ok(Latents {
        video: Some(Tensor::from_vec(values("noise.video", count), video, device)?),
        audio: Some(Tensor::from_vec(
            values("noise.audio", audio.0 * audio.1),
            audio,
            device,
        )?),
    })
}

fn decode(
    codec: &dyn Codec,
    latents: &Latents,
    watch: Watch<'_>,
    picture: &mut dyn FnMut(Picture) -> Result<()>,
) -> Result<(Vec<f32>, usize)> {
    let (Some(video), Some(audio)) = (&latents.video, &latents.audio) else {
        return Err(Error::Input("latents of one stream alone".to_owned()));
    };
    let (height, width) = (video.dim(2)? * SPACE_STRIDE, video.dim(3)? * SPACE_STRIDE);
    let (mut count, total) = (0, video.dim(1)?);
    let mut frame = 0;
    codec.decode_video(video, &mut |clip| {
        for rgb in clip_bytes(&clip)? {
            picture(Picture { width, height, rgb })?;
            count += 1;
        }
        frame += 1;
        match watch(Event::Step(frame, total)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Stopped),
        }
    })?;
    Ok((codec.decode_audio(audio)?, count))
}

/// Latents as the bytes of a safetensors file.
fn file_of(latents: &Latents) -> Result<Vec<u8>> {
    let mut named: HashMap<&str, Tensor> = HashMap::new();
    if let Some(video) = &latents.video {
        named.insert("video", video.to_device(&Device::Cpu)?.contiguous()?);
    }
    if let Some(audio) = &latents.audio {
        named.insert("audio", audio.to_device(&Device::Cpu)?.contiguous()?);
    }
    safetensors::serialize(named, None).map_err(|error| Error::Input(format!("latents: {error}")))
}
