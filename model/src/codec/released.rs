//! The released networks as a codec.

use super::{Codec, CodecKind};
use crate::{
    Error, Result,
    net::{
        mel::{Mel, MelConfig},
        vae_audio::{AudioVae, AudioVaeConfig},
        vae_video::{LatentScale, VideoVae, VideoVaeConfig},
        vocoder::{Vocoder, VocoderConfig},
    },
    weights::Weights,
};
use candle_core::{DType, Device, Tensor};
use std::path::{Path, PathBuf};

/// Where the released files lie below a checkpoint's folder: video VAE, audio VAE, vocoder; the first that is there counts.
const FILES: [&[&str]; 3] = [
    &["codec/Wan2.2_VAE.safetensors", "codec/Wan2.2_VAE.pth"],
    &["codec/v1-16.safetensors", "codec/v1-16.pth"],
    &["codec/best_netG.safetensors", "codec/best_netG.pt"],
];

/// Wan2.2's video VAE, MMAudio's audio VAE and BigVGAN. Each is loaded when it is needed and dropped after.
pub struct Released {
    files: [PathBuf; 3],
    device: Device,
}

impl Released {
    /// Finds the files below `folder` (`codec/`). Fails if one of the three is not there.
    pub fn open(folder: &Path, device: &Device) -> Result<Self> {
        let find = |names: &[&str]| {
            let found = names
                .iter()
                .map(|name| folder.join(name))
                .find(|path| path.exists());
            found.ok_or_else(|| Error::Io {
                path: folder.join(names.first().copied().unwrap_or_default()),
                source: std::io::ErrorKind::NotFound.into(),
            })
        };
        Ok(Self {
            files: [find(FILES[0])?, find(FILES[1])?, find(FILES[2])?],
            device: device.clone(),
        })
    }

    fn weights(&self, index: usize) -> Result<Weights> {
        Weights::open(&self.files[index], DType::F32, &self.device)
    }

    fn video(&self) -> Result<(VideoVae, LatentScale)> {
        let weights = self.weights(0)?;
        let vae = VideoVae::new(&VideoVaeConfig::wan22(), &weights)?;
        weights.finish()?;
        Ok((vae, LatentScale::wan22(&self.device)?))
    }

    fn audio(&self) -> Result<AudioVae> {
        let weights = self.weights(1)?;
        let vae = AudioVae::new(&AudioVaeConfig::mmaudio_16k(), &weights)?;
        weights.finish()?;
        Ok(vae)
    }
}

impl Codec for Released {
    fn kind(&self) -> CodecKind {
        CodecKind::Released
    }

    fn encode_video(&self, clip: &Tensor) -> Result<Tensor> {
        let (vae, scale) = self.video()?;
        let clip = clip.to_device(&self.device)?.to_dtype(DType::F32)?;
        vae.encode(&clip, &scale, &mut |_, _| {})
    }

    fn decode_video(&self, latent: &Tensor, take: &mut dyn FnMut(Tensor) -> Result<()>) -> Result<()> {
        let (vae, scale) = self.video()?;
        let latent = latent.to_device(&self.device)?.to_dtype(DType::F32)?;
        vae.decode(&latent, &scale, &mut |_, _| {}, take)
    }

    fn encode_audio(&self, samples: &[f32]) -> Result<Tensor> {
        let mel = Mel::new(&MelConfig::mmaudio_16k())?.forward(samples, &self.device)?;
        let (mean, _) = self.audio()?.encode(&mel)?;
        Ok(mean.t()?.contiguous()?)
    }

    fn decode_audio(&self, latent: &Tensor) -> Result<Vec<f32>> {
        let latent = latent.to_device(&self.device)?.to_dtype(DType::F32)?;
        let mel = self.audio()?.decode(&latent.t()?.contiguous()?)?;
        let weights = self.weights(2)?;
        let vocoder = Vocoder::new(&VocoderConfig::mmaudio_16k(), &weights)?;
        weights.finish()?;
        let sound = vocoder.forward(&mel, |_, _| {})?;
        Ok(sound.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
    }
}
