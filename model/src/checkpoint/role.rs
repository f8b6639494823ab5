//! What a file is in a checkpoint, and what is known of the published one.

use super::Preset;

/// What a file is in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Both streams; OCF and MTP-CA with them where they were trained.
    Backbone,
    /// UMT5.
    TextEncoder,
    /// Its tokenizer, in Hugging Face's format.
    Tokenizer,
    /// A checkpoint of F5-TTS, of which the text embedding is taken.
    Phonemes,
    /// Its vocabulary.
    Vocabulary,
    /// Wan2.2's VAE.
    VideoVae,
    /// MMAudio's VAE.
    AudioVae,
    /// BigVGAN.
    Vocoder,
}

/// What is known of the published file of a role: entry in the registry of networks, its file there, where it comes from, and
/// under which licence its weights are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Name in `omni models list`, and of its folder where that pulls to.
    pub id: &'static str,
    /// Name of the file there.
    pub file: &'static str,
    /// Repository it is published in.
    pub repository: &'static str,
    /// Licence of the weights, as the repository states it.
    pub licence: &'static str,
}

impl Role {
    /// All, in the order in which they are told.
    pub const ALL: [Self; 8] = [
        Self::Backbone,
        Self::TextEncoder,
        Self::Tokenizer,
        Self::Phonemes,
        Self::Vocabulary,
        Self::VideoVae,
        Self::AudioVae,
        Self::Vocoder,
    ];

    /// Its word: the flag without dashes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Backbone => "backbone",
            Self::TextEncoder => "text-encoder",
            Self::Tokenizer => "tokenizer",
            Self::Phonemes => "phonemes",
            Self::Vocabulary => "vocabulary",
            Self::VideoVae => "video-vae",
            Self::AudioVae => "audio-vae",
            Self::Vocoder => "vocoder",
        }
    }

    /// The published file.
    pub fn published(self) -> Published {
        let (id, file, repository, licence) = match self {
            Self::Backbone => (
                "ovi-720x720_5s",
                "model.safetensors",
                "chetwinlow1/Ovi",
                "Apache-2.0",
            ),
            Self::TextEncoder => (
                "umt5_xxl",
                "models_t5_umt5-xxl-enc-bf16.pth",
                "Wan-AI/Wan2.2-TI2V-5B",
                "Apache-2.0",
            ),
            Self::Tokenizer => (
                "umt5_xxl",
                "tokenizer.json",
                "Wan-AI/Wan2.2-TI2V-5B",
                "Apache-2.0",
            ),
            Self::Phonemes => (
                "f5tts_v1",
                "model_1250000.safetensors",
                "SWivid/F5-TTS",
                "CC-BY-NC-4.0",
            ),
            Self::Vocabulary => ("f5tts_v1", "vocab.txt", "SWivid/F5-TTS", "CC-BY-NC-4.0"),
            Self::VideoVae => (
                "wan22_vae",
                "Wan2.2_VAE.pth",
                "Wan-AI/Wan2.2-TI2V-5B",
                "Apache-2.0",
            ),
            Self::AudioVae => (
                "mmaudio_vae_16k",
                "v1-16.pth",
                "hkchengrex/MMAudio",
                "CC-BY-NC-4.0",
            ),
            Self::Vocoder => (
                "bigvgan_16k",
                "best_netG.pt",
                "hkchengrex/MMAudio",
                "CC-BY-NC-4.0",
            ),
        };
        Published {
            id,
            file,
            repository,
            licence,
        }
    }

    /// Whether a checkpoint of this preset has such a file: the smaller ones have the stand-in codec.
    pub fn belongs(self, preset: Preset) -> bool {
        preset == Preset::P720 || !matches!(self, Self::VideoVae | Self::AudioVae | Self::Vocoder)
    }
}
