//! The sampling loop: two passes of the network per step (three with guidance by references), guidance, one solver per stream.

use super::{Schedule, SolverKind};
use crate::{
    Error, Result,
    net::{Condition, Denoiser, Latents},
};
use candle_core::Tensor;

/// How strongly each stream is driven from the negative to the positive prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guidance {
    /// Of the video.
    pub video: f64,
    /// Of the audio.
    pub audio: f64,
}

impl Default for Guidance {
    fn default() -> Self {
        Self {
            video: 4.0,
            audio: 3.0,
        }
    }
}

/// The conditions of a step. Skip-layer guidance is the negative one's `skip_layer`.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// What is wanted.
    pub positive: Condition,
    /// What is not.
    pub negative: Condition,
    /// What is wanted, with references of nothing, and how strongly the true ones drive away from it; a third pass.
    pub unreferenced: Option<(Condition, Guidance)>,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Solver of both streams.
    pub solver: SolverKind,
    /// Steps.
    pub steps: usize,
    /// Shift of the levels towards noise.
    pub shift: f64,
    /// Guidance.
    pub guidance: Guidance,
    /// The latent of a given first picture: `[48, 1, height, width]`.
    pub first_frame: Option<Tensor>,
}

/// Takes `noise` to latents. `watch` is shown the latents after each step. Fails if shapes do not fit.
pub fn denoise(
    network: &dyn Denoiser,
    noise: Latents,
    conditions: &Conditions,
    plan: &Plan,
    mut watch: impl FnMut(usize, &Latents),
) -> Result<Latents> {
    let schedule = Schedule::new(plan.solver, plan.steps, plan.shift)?;
    let (mut video, mut audio) = (plan.solver.start(&schedule), plan.solver.start(&schedule));
    let mut x = noise;
    for (step, t) in schedule.timesteps.iter().enumerate() {
        plan.clamp(&mut x)?;
        let wanted = network.velocity(&x, *t, &conditions.positive)?;
        let unwanted = network.velocity(&x, *t, &conditions.negative)?;
        let mut v = Latents {
            video: guided(
                wanted.video.as_ref(),
                unwanted.video.as_ref(),
                plan.guidance.video,
            )?,
            audio: guided(
                wanted.audio.as_ref(),
                unwanted.audio.as_ref(),
                plan.guidance.audio,
            )?,
        };
        if let Some((condition, strength)) = &conditions.unreferenced {
            let without = network.velocity(&x, *t, condition)?;
            v.video = further(v.video, &wanted.video, &without.video, strength.video)?;
            v.audio = further(v.audio, &wanted.audio, &without.audio, strength.audio)?;
        }
        if let (Some(v), Some(now)) = (&v.video, &x.video) {
            x.video = Some(video.step(v, now)?);
        }
        if let (Some(v), Some(now)) = (&v.audio, &x.audio) {
            x.audio = Some(audio.step(v, now)?);
        }
        watch(step, &x);
    }
    plan.clamp(&mut x)?;
    Ok(x)
}

/// `unwanted + strength * (wanted - unwanted)`.
fn guided(wanted: Option<&Tensor>, unwanted: Option<&Tensor>, strength: f64) -> Result<Option<Tensor>> {
    match (wanted, unwanted) {
        (Some(wanted), Some(unwanted)) => Ok(Some((unwanted + ((wanted - unwanted)? * strength)?)?)),
        (None, None) => Ok(None),
        _ => Err(Error::Input(
            "one pass gave a stream that the other did not".to_owned(),
        )),
    }
}

/// `v + strength * (wanted - without)`.
fn further(
    v: Option<Tensor>,
    wanted: &Option<Tensor>,
    without: &Option<Tensor>,
    strength: f64,
) -> Result<Option<Tensor>> {
    match (v, wanted, without) {
        (Some(v), Some(wanted), Some(without)) => Ok(Some((v + ((wanted - without)? * strength)?)?)),
        (v, ..) => Ok(v),
    }
}

impl Plan {
    /// Puts the given picture back into latent frame 0, which the solver has moved.
    fn clamp(&self, x: &mut Latents) -> Result<()> {
        let (Some(first), Some(video)) = (&self.first_frame, &x.video) else {
            return Ok(());
        };
        let frames = video.dim(1)?;
        x.video = Some(if frames > 1 {
            Tensor::cat(&[first, &video.narrow(1, 1, frames - 1)?], 1)?
        } else {
            first.clone()
        });
        Ok(())
    }
}
