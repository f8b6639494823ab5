//! Three steps of training, and the gradients of a step on speech alone.

use super::{Measure, backbone::fusion_of, golden::Golden};
use crate::{
    Error, Result,
    net::{FusionModel, StreamInput},
    train::{AdamW, AdamWSettings, flow_loss, gradient_norm, noised},
    weights::Trained,
};
use candle_core::{Tensor, backprop::GradStore};

/// One sample, noised.
struct Batch {
    video: StreamInput,
    audio: StreamInput,
    samples: [Tensor; 2],
    noises: [Tensor; 2],
}

impl Batch {
    fn new(golden: &Golden) -> Result<Self> {
        let sigma = golden.scalar("in.sigma")?;
        let text = golden.tensor("in.context")?;
        let samples = [golden.tensor("in.video_x0")?, golden.tensor("in.audio_x0")?];
        let noises = [golden.tensor("in.video_eps")?, golden.tensor("in.audio_eps")?];
        let input = |index: usize| {
            let latent = noised(&samples[index], &noises[index], sigma)?;
            Ok::<_, Error>(StreamInput::new(latent, text.clone(), 1000.0 * sigma))
        };
        Ok(Self {
            video: input(0)?,
            audio: input(1)?,
            samples,
            noises,
        })
    }

    /// The sum, then the loss of the video and of the audio.
    fn losses(&self, model: &FusionModel) -> Result<[Tensor; 3]> {
        let (video, audio) = model.forward(&self.video, &self.audio, 0)?;
        let video = flow_loss(&video, &self.samples[0], &self.noises[0])?;
        let audio = flow_loss(&audio, &self.samples[1], &self.noises[1])?;
        let total = (&video + &audio)?;
        Ok([total, video, audio])
    }

    fn speech_loss(&self, model: &FusionModel) -> Result<Tensor> {
        flow_loss(
            &model.audio.forward(&self.audio)?,
            &self.samples[1],
            &self.noises[1],
        )
    }
}

/// Compares the stored gradients `prefix.KEY`, in the checkpoint's own layout.
fn gradients(golden: &mut Golden, prefix: &str, trained: &[Trained], grads: &GradStore) -> Result<()> {
    for weight in trained {
        let name = format!("{prefix}.{}", weight.name);
        if !golden.has(&name) {
            continue;
        }
        match grads.get(&weight.var) {
            Some(grad) => golden.relative(&name, &weight.stored.save(grad, &weight.shape)?, 1e-4)?,
            None => golden.push(&name, f64::INFINITY, 1e-4, Measure::Relative),
        }
    }
    Ok(())
}

/// Losses, norms, gradients, and the weights after one step.
pub(super) fn train_step(golden: &mut Golden) -> Result<()> {
    let weights = golden.weights_of_other()?;
    let batch = Batch::new(golden)?;
    let (model, trained) = fusion_of(&weights, golden.config()?)?;
    let loss = batch.speech_loss(&model)?;
    let grads = loss.backward()?;
    golden.relative("tts_only.loss", &loss, 1e-5)?;
    gradients(golden, "tts_only.grad", &trained, &grads)?;
    // on speech alone, video and fusion weights take no part: they have no gradient, not one of zero
    let idle = |weight: &&Trained| weight.name.starts_with("video_model.") || weight.name.contains("_fusion");
    let stray = trained
        .iter()
        .filter(idle)
        .filter(|weight| grads.get(&weight.var).is_some())
        .count();
    golden.push(
        "tts_only: weights with a stray gradient",
        stray as f64,
        0.0,
        Measure::Absolute,
    );

    let mut optimizer = AdamW::new(trained.clone(), settings(&golden.entry::<String>("optimizer")?)?)?;
    for step in 0.. {
        let name = format!("step{step}.loss");
        if !golden.has(&name) {
            break;
        }
        let losses = batch.losses(&model)?;
        let grads = losses[0].backward()?;
        golden.relative(&name, &Tensor::stack(&losses, 0)?, 1e-5)?;
        let norm = Tensor::new(gradient_norm(&trained, &grads)?, &candle_core::Device::Cpu)?;
        golden.relative(&format!("step{step}.grad_norm"), &norm, 1e-4)?;
        gradients(golden, &format!("step{step}.grad"), &trained, &grads)?;
        optimizer.step(&grads, 1.0)?;
        for weight in &trained {
            let name = format!("after{}.{}", step + 1, weight.name);
            if golden.has(&name) {
                stepped(golden, &name, weight)?;
            }
        }
    }
    Ok(())
}

/// "AdamW lr 1e-3 betas 0.9,0.999 eps 1e-8 wd 0.01, ...".
fn settings(text: &str) -> Result<AdamWSettings> {
    let after = |word: &str| {
        let mut words = text.split_whitespace().skip_while(|known| *known != word);
        words.nth(1).map(|value| value.trim_end_matches(',').to_owned())
    };
    let number = |word: &str, text: Option<String>| {
        let value = text.as_ref().and_then(|text| text.parse::<f64>().ok());
        value.ok_or_else(|| Error::Config(format!("`optimizer` tells no {word}")))
    };
    let betas = after("betas").unwrap_or_default();
    let (first, second) = betas.split_once(',').unwrap_or_default();
    Ok(AdamWSettings {
        moments: crate::train::MomentForm::Wide,
        lr: number("lr", after("lr"))?,
        betas: (
            number("betas", Some(first.to_owned()))?,
            number("betas", Some(second.to_owned()))?,
        ),
        eps: number("eps", after("eps"))?,
        decay: number("wd", after("wd"))?,
        offload: false,
    })
}

/// A first step of Adam is the sign of the gradient: where that is noise, so is the step. All but a thousandth must fit.
fn stepped(golden: &mut Golden, name: &str, weight: &Trained) -> Result<()> {
    let ours = super::golden::flat(&weight.stored.save(&weight.var, &weight.shape)?)?;
    let stored = golden.values(name)?;
    let mut off: Vec<f64> = ours.iter().zip(&stored).map(|(a, b)| (a - b).abs()).collect();
    off.sort_by(f64::total_cmp);
    let place = (off.len() - off.len() / 1000).saturating_sub(1);
    golden.push(
        name,
        off.get(place).copied().unwrap_or(f64::NAN),
        2e-5,
        Measure::Absolute,
    );
    Ok(())
}
