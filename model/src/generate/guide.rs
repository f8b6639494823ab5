//! The sampling loop of a request: conditions, passes, progress.

use super::{
    Event, GuidanceMode, Precision, Request, Watch,
    context::{Encoded, Given, enrich},
    noise,
};
use crate::{
    Error, Result,
    checkpoint::Network,
    net::{Condition, Denoiser, FusionModel, Latents, References},
    sample::{Conditions, Guidance, Plan, denoise as solve},
};
use candle_core::{DType, Device, Tensor};
use std::cell::Cell;

/// How strongly true references drive away from empty ones, video and audio (DreamID-Omni's).
const REFERENCES: Guidance = Guidance {
    video: 1.5,
    audio: 2.0,
};

/// A network in its own precision, told and telling in f32. Stops between passes.
struct Cast<'a> {
    network: &'a FusionModel,
    dtype: DType,
    stopped: &'a Cell<bool>,
}

fn cast(x: &Option<Tensor>, dtype: DType) -> Result<Option<Tensor>> {
    Ok(x.as_ref().map(|x| x.to_dtype(dtype)).transpose()?)
}

impl Denoiser for Cast<'_> {
    fn velocity(&self, x: &Latents, t: f64, condition: &Condition) -> Result<Latents> {
        if self.stopped.get() {
            return Err(Error::Stopped);
        }
        let x = Latents {
            video: cast(&x.video, self.dtype)?,
            audio: cast(&x.audio, self.dtype)?,
        };
        let v = self.network.velocity(&x, t, condition)?;
        Ok(Latents {
            video: cast(&v.video, DType::F32)?,
            audio: cast(&v.audio, DType::F32)?,
        })
    }
}

fn in_precision(references: References, dtype: DType) -> Result<References> {
    let audio = references.audio.iter().map(|voice| voice.to_dtype(dtype));
    Ok(References {
        video: cast(&references.video, dtype)?,
        audio: audio.collect::<candle_core::Result<_>>()?,
        layout: references.layout,
    })
}

/// From noise to latents.
pub(super) fn denoise(
    network: &Network,
    request: &Request,
    encoded: &Encoded,
    (device, precision): (&Device, Precision),
    watch: Watch<'_>,
) -> Result<Latents> {
    let dtype = precision.dtype();
    let [video_text, audio_text] = enrich(network, encoded, dtype, device)?;
    let references = encoded.references.references()?;
    let references = references.map(|found| in_precision(found, dtype)).transpose()?;
    let positive = Condition {
        video_text: Some(video_text),
        audio_text: Some(audio_text),
        clean_first_frame: request.first_frame.is_some(),
        skip_layer: 0,
        references: references.clone(),
    };
    let plain = |rows: &Tensor| rows.to_device(device)?.to_dtype(dtype);
    let negative = Condition {
        video_text: Some(plain(&encoded.text.negative[0])?),
        audio_text: Some(plain(&encoded.text.negative[1])?),
        skip_layer: request.slg_layer,
        ..positive.clone()
    };
    let unreferenced = match (&references, request.guidance_mode) {
        (Some(references), GuidanceMode::Ref3) => {
            let condition = Condition {
                references: Some(Given::emptied(references)?),
                ..positive.clone()
            };
            Some((condition, REFERENCES))
        }
        _ => None,
    };
    let conditions = Conditions {
        positive,
        negative,
        unreferenced,
    };
    let plan = Plan {
        solver: request.solver,
        steps: request.steps,
        shift: request.shift,
        guidance: Guidance {
            video: request.guidance_video,
            audio: request.guidance_audio,
        },
        first_frame: encoded.references.first_frame.clone(),
    };
    let stopped = Cell::new(watch(Event::Step(0, request.steps)).is_break());
    let network = Cast {
        network: &network.fusion,
        dtype,
        stopped: &stopped,
    };
    let latents = solve(
        &network,
        noise(request, device)?,
        &conditions,
        &plan,
        |step, _| {
            stopped.set(watch(Event::Step(step + 1, request.steps)).is_break());
        },
    )?;
    finite(&latents)?;
    Ok(latents)
}

/// Fails on latents that have left the numbers: what would come of them is no clip.
fn finite(latents: &Latents) -> Result<()> {
    for latent in [&latents.video, &latents.audio].into_iter().flatten() {
        let sum = latent.abs()?.sum_all()?.to_scalar::<f32>()?;
        if !sum.is_finite() {
            return Err(Error::Input(
                "the latents are no numbers any more: the weights are damaged, or --dtype is too small for them"
                    .to_owned(),
            ));
        }
    }
    Ok(())
}
