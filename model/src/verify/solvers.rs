//! Schedules, solvers, and the sampling loop.

use super::golden::Golden;
use crate::{
    Error, Result,
    net::{Condition, FusionModel, Latents},
    sample::{Conditions, Guidance, Plan, Schedule, SolverKind, denoise},
};
use candle_core::Tensor;

fn solver(name: &str) -> Option<SolverKind> {
    match name {
        "unipc" => Some(SolverKind::UniPc),
        "dpmpp" => Some(SolverKind::DpmPlusPlus),
        "euler" => Some(SolverKind::Euler),
        _ => None,
    }
}

/// `unipc.n8.shift3` as solver, steps and shift.
fn case(text: &str) -> Option<(SolverKind, usize, f64)> {
    let mut parts = text.splitn(3, '.');
    let kind = solver(parts.next()?)?;
    let steps = parts.next()?.strip_prefix('n')?.parse().ok()?;
    let shift = parts.next()?.strip_prefix("shift")?.parse().ok()?;
    Some((kind, steps, shift))
}

/// Levels, times, and trajectories along recorded velocities.
pub(super) fn schedules(golden: &mut Golden) -> Result<()> {
    for name in golden.names("") {
        let unknown = || Error::Input(format!("`{name}` names no schedule"));
        if let Some(text) = name.strip_suffix(".sigmas") {
            let (kind, steps, shift) = case(text).ok_or_else(unknown)?;
            let schedule = Schedule::new(kind, steps, shift)?;
            golden.absolute(&name, &schedule.sigmas, 1e-6)?;
            // whole timesteps are exact; a float one is a level times 1000
            let bound = if kind == SolverKind::Euler { 1e-3 } else { 0.0 };
            golden.absolute(&format!("{text}.timesteps"), &schedule.timesteps, bound)?;
        } else if let Some(text) = name
            .strip_prefix("traj.")
            .and_then(|rest| rest.strip_suffix(".x"))
        {
            let (kind, steps, shift) = case(text).ok_or_else(unknown)?;
            let mut solver = kind.start(&Schedule::new(kind, steps, shift)?);
            let velocities = golden.tensor(&format!("traj.{text}.v"))?;
            let mut path = vec![golden.tensor(&name)?.get(0)?];
            for step in 0..steps {
                path.push(solver.step(&velocities.get(step)?, &path[step])?);
            }
            golden.absolute_tensor(&name, &Tensor::stack(&path, 0)?, 1e-5)?;
        }
    }
    // the field that the velocities were recorded from is only told about
    for name in golden.names("toy.") {
        golden.stored(&name)?;
    }
    Ok(())
}

/// The whole loop on the tiny backbone.
pub(super) fn sampler(golden: &mut Golden) -> Result<()> {
    let model = super::backbone::fusion_model(&golden.weights_of_other()?)?;
    for name in golden.names("") {
        if let Some(case) = name.strip_suffix(".out.video") {
            sampled(golden, &model, case)?;
        }
    }
    Ok(())
}

/// `unipc8.i2v`.
fn sampled(golden: &mut Golden, model: &FusionModel, case: &str) -> Result<()> {
    let unknown = || Error::Input(format!("`{case}` names no sampling run"));
    let (run, task) = case.split_once('.').ok_or_else(unknown)?;
    let digits = run
        .find(|letter: char| letter.is_ascii_digit())
        .ok_or_else(unknown)?;
    let kind = solver(&run[..digits]).ok_or_else(unknown)?;
    let given = task == "i2v";
    let condition = |video: &str, audio: &str, skip_layer| {
        Ok::<_, Error>(Condition {
            video_text: Some(golden.tensor(video)?),
            audio_text: Some(golden.tensor(audio)?),
            clean_first_frame: given,
            skip_layer,
            references: None,
        })
    };
    let conditions = Conditions {
        positive: condition("in.ctx_pos", "in.ctx_pos", 0)?,
        negative: condition("in.ctx_video_neg", "in.ctx_audio_neg", golden.entry("slg_layer")?)?,
        unreferenced: None,
    };
    let plan = Plan {
        solver: kind,
        steps: run[digits..].parse().map_err(|_| unknown())?,
        shift: golden.entry("shift")?,
        guidance: Guidance {
            video: golden.entry("video_guidance")?,
            audio: golden.entry("audio_guidance")?,
        },
        first_frame: given.then(|| golden.tensor("in.first_frame")).transpose()?,
    };
    let noise = Latents {
        video: Some(golden.tensor("in.video_noise")?),
        audio: Some(golden.tensor("in.audio_noise")?),
    };
    let mut first = Latents::default();
    let out = denoise(model, noise, &conditions, &plan, |step, x| {
        if step == 0 {
            first = x.clone();
        }
    })?;
    for (moment, latents) in [("step0", first), ("out", out)] {
        for (stream, latent) in [("video", latents.video), ("audio", latents.audio)] {
            let latent = latent.ok_or_else(unknown)?;
            golden.relative(&format!("{case}.{moment}.{stream}"), &latent, 1e-4)?;
        }
    }
    Ok(())
}
