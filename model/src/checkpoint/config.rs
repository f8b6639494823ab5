//! `config.toml`: all of a checkpoint that is not a tensor.

use crate::{
    Error, Result,
    codec::CodecKind,
    net::{F5TextConfig, FusionConfig, MtpCaConfig, OcfConfig, StreamConfig, Umt5Config},
    sample::SolverKind,
    text::{Tokenizer, stand_in_tokenizer, stand_in_vocabulary},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io::Read, path::Path};

/// The version of the file's form.
const FORMAT: u32 = 1;

/// A size to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// A million weights: to see the way work.
    Tiny,
    /// 15 million, wider than the 192 values of a patch of pictures: the least that can learn pictures.
    Little,
    /// 57 million: to train for real on little.
    Small,
    /// The released size.
    P720,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tiny, Self::Little, Self::Small, Self::P720];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Little => "little",
            Self::Small => "small",
            Self::P720 => "720p",
        }
    }
}

/// Where the weights come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Random: what is sampled is noise.
    Init,
    /// Trained here.
    Trained,
    /// Published.
    Released,
}

/// How a prompt says what is to be heard besides speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AudioCaption {
    /// `<AUDCAP>...<ENDAUDCAP>`.
    Audcap,
    /// `Audio: ...` at the end.
    Audio,
}

impl AudioCaption {
    /// The prompt in this syntax: one of the other kind is rewritten, and `caption` is added where the prompt has none.
    pub fn apply(self, prompt: &str, caption: Option<&str>) -> String {
        let (open, close, label) = ("<AUDCAP>", "<ENDAUDCAP>", "Audio:");
        let (before, own) = match (prompt.split_once(open), prompt.rsplit_once(label)) {
            (Some((before, rest)), _) => {
                let (inside, behind) = rest.split_once(close).unwrap_or((rest, ""));
                (
                    format!("{}{}", before.trim_end(), behind),
                    Some(inside.trim().to_owned()),
                )
            }
            // a label inside of what is said is speech
            (None, Some((before, inside))) if !inside.contains("<E>") => {
                (before.trim_end().to_owned(), Some(inside.trim().to_owned()))
            }
            _ => (prompt.to_owned(), None),
        };
        let caption = own.or_else(|| caption.map(|text| text.trim().to_owned()));
        match (caption.filter(|text| !text.is_empty()), self) {
            (None, _) => prompt.to_owned(),
            (Some(text), Self::Audcap) => format!("{before} {open}{text}{close}"),
            (Some(text), Self::Audio) => format!("{before} {label} {text}"),
        }
    }
}

/// What `omni sample` does unless told otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Pixels, a multiple of 32.
    pub width: usize,
    /// Pixels, a multiple of 32.
    pub height: usize,
    /// Length.
    pub seconds: f64,
    /// Steps.
    pub steps: usize,
    /// Solver.
    pub solver: SolverKind,
    /// Shift of the noise levels.
    pub shift: f64,
    /// Guidance of the video.
    pub guidance_video: f64,
    /// Guidance of the audio.
    pub guidance_audio: f64,
    /// Block left out of the negative pass; 0 for none.
    pub slg_layer: usize,
    /// What the video is kept from.
    pub negative_video: String,
    /// What the audio is kept from.
    pub negative_audio: String,
}

/// What a file was when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileMark {
    /// Bytes.
    pub bytes: u64,
    /// BLAKE3 in hex.
    pub blake3: String,
}

impl FileMark {
    /// The mark of a file as it is now.
    pub fn of(path: &Path) -> Result<Self> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = std::fs::File::open(path).map_err(io)?;
        let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = file.read(&mut buffer).map_err(io)?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            bytes += count as u64;
        }
        Ok(Self {
            bytes,
            blake3: hasher.finalize().to_hex().to_string(),
        })
    }

    /// Fails if the file is not what it was.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let now = Self::of(path)?;
        let why = match now.bytes == self.bytes {
            _ if now == *self => return Ok(()),
            false => format!("it has {} bytes, it was written with {}", now.bytes, self.bytes),
            true => "its bytes are not those it was written with (BLAKE3 differs)".to_owned(),
        };
        Err(Error::Format {
            path: path.to_owned(),
            kind: "a part of this checkpoint",
            why: format!("{why}; fetch or make it again"),
        })
    }
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of the file's form.
    pub format: u32,
    /// Name of the sizes it began with; only a name.
    pub preset: String,
    /// Where the weights come from.
    pub origin: Origin,
    /// Codec of its latents.
    pub codec: CodecKind,
    /// Seed of random weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Audio-caption syntax.
    pub audio_caption: AudioCaption,
    /// References lie where the prompt describes whom they show; false if it was trained without that.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub anchored: bool,
    /// Both streams.
    pub backbone: FusionConfig,
    /// Omni-Context Fusion; absent in a plain Ovi checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocf: Option<OcfConfig>,
    /// Masked TTS-to-prompt cross-attention; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtp_ca: Option<MtpCaConfig>,
    /// The text encoder of `text/`.
    pub text: Umt5Config,
    /// The phoneme encoder of `speech/`; without it speech has no phonemes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speech: Option<F5TextConfig>,
    /// Defaults of sampling.
    pub sampling: Sampling,
    /// Marks of files, by their path in the folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, FileMark>,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

/// A stream of another width, its text rows with it.
fn resized(stream: StreamConfig, dim: usize, heads: usize, layers: usize, text_dim: usize) -> StreamConfig {
    StreamConfig {
        dim,
        ffn_dim: 4 * dim,
        num_heads: heads,
        num_layers: layers,
        text_dim,
        ..stream
    }
}

impl Config {
    /// The configuration of a preset with random weights of `seed`, the stand-in codec, tokenizer and vocabulary.
    pub fn preset(preset: Preset, seed: u64) -> Result<Self> {
        let tokenizer = Tokenizer::parse(&stand_in_tokenizer()).map_err(Error::Config)?;
        let text = |dim: usize| Umt5Config {
            vocab: tokenizer.size(),
            dim,
            ..Umt5Config::tiny()
        };
        let speech = F5TextConfig {
            text_num_embeds: stand_in_vocabulary().lines().count(),
            ..F5TextConfig::tiny()
        };
        let sampling = Sampling {
            width: 64,
            height: 64,
            seconds: 1.0,
            steps: 4,
            solver: SolverKind::UniPc,
            shift: 5.0,
            guidance_video: 4.0,
            guidance_audio: 3.0,
            slg_layer: 1,
            negative_video: "jitter, bad hands, blur, distortion".to_owned(),
            negative_audio: "robotic, muffled, echo, distorted".to_owned(),
        };
        let mut config = Self {
            format: FORMAT,
            preset: preset.name().to_owned(),
            origin: Origin::Init,
            codec: CodecKind::Linear,
            seed: Some(seed),
            audio_caption: AudioCaption::Audcap,
            anchored: true,
            backbone: FusionConfig::tiny(),
            ocf: Some(OcfConfig::tiny()),
            mtp_ca: Some(MtpCaConfig::tiny()),
            text: text(96),
            speech: Some(speech.clone()),
            sampling: sampling.clone(),
            files: BTreeMap::new(),
        };
        // a structured prompt needs the released room
        config.backbone.video.text_len = 512;
        config.backbone.audio.text_len = 512;
        match preset {
            Preset::Tiny => {}
            Preset::Little => {
                let FusionConfig { video, audio } = FusionConfig::ovi();
                config.backbone = FusionConfig {
                    video: resized(video, 256, 4, 4, 96),
                    audio: resized(audio, 256, 4, 4, 96),
                };
                config.sampling.steps = 20;
            }
            Preset::Small => {
                let FusionConfig { video, audio } = FusionConfig::ovi();
                config.backbone = FusionConfig {
                    video: resized(video, 384, 6, 8, 256),
                    audio: resized(audio, 384, 6, 8, 256),
                };
                config.ocf = Some(OcfConfig {
                    dim: 256,
                    ffn: 1024,
                    text_dim: 256,
                    ..OcfConfig::tiny()
                });
                config.mtp_ca = Some(MtpCaConfig {
                    text_dim: 256,
                    inner: 256,
                    ..MtpCaConfig::tiny()
                });
                config.text = text(256);
                config.sampling = Sampling {
                    width: 256,
                    height: 256,
                    seconds: 2.0,
                    steps: 20,
                    slg_layer: 3,
                    ..sampling
                };
            }
            Preset::P720 => {
                config.backbone = FusionConfig::ovi();
                config.ocf = Some(OcfConfig::paper());
                config.mtp_ca = Some(MtpCaConfig::paper());
                config.text = text(4096);
                config.speech = Some(F5TextConfig {
                    text_num_embeds: speech.text_num_embeds,
                    ..F5TextConfig::v1()
                });
                config.sampling = Sampling {
                    width: 704,
                    height: 704,
                    seconds: 5.0,
                    steps: 50,
                    slg_layer: 11,
                    ..sampling
                };
            }
        }
        config.check()?;
        Ok(config)
    }

    /// Reads and checks the file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        let config: Self = toml::from_str(&text).map_err(|error| Error::Format {
            path: path.to_owned(),
            kind: "the configuration of a checkpoint",
            why: error.to_string().trim_end().to_owned(),
        })?;
        config.check().map_err(|error| match error {
            Error::Config(why) => Error::Config(format!("{}: {why}", path.display())),
            other => other,
        })?;
        Ok(config)
    }

    /// The file's text.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Config(error.to_string()))
    }

    /// Fails on a number beyond its range and on what does not go together.
    pub fn check(&self) -> Result<()> {
        let refuse = |why: String| Err(Error::Config(why));
        if self.format != FORMAT {
            return refuse(format!("format {}, this build reads {FORMAT}", self.format));
        }
        super::ranges::check(self)?;
        if self.codec == CodecKind::Linear && self.origin == Origin::Released {
            return refuse(
                "a released checkpoint with codec `linear`: its latents are those of the released VAEs, \
                 which the stand-in neither makes nor reads; set codec = \"released\" and put the VAEs into `codec/`"
                    .to_owned(),
            );
        }
        self.backbone.check()?;
        let width = self.text.dim;
        let (video, audio) = (&self.backbone.video, &self.backbone.audio);
        if video.text_dim != width || audio.text_dim != width || video.text_len != audio.text_len {
            return refuse(format!(
                "text rows of {width} values, and streams that read {} and {}",
                video.text_dim, audio.text_dim
            ));
        }
        let speech = self.speech.as_ref().map(|speech| speech.text_dim);
        if let Some(ocf) = &self.ocf
            && (ocf.text_dim != width || speech.is_some_and(|dim| dim != ocf.tts_dim))
        {
            return refuse("OCF reads text or phonemes of another width".to_owned());
        }
        if let Some(mtp_ca) = &self.mtp_ca
            && (mtp_ca.text_dim != width || speech.is_some_and(|dim| dim != mtp_ca.tts_dim))
        {
            return refuse("MTP-CA reads text or phonemes of another width".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_read_back_and_have_their_sizes() {
        for preset in Preset::ALL {
            let config = Config::preset(preset, 7).unwrap();
            let back: Config = toml::from_str(&config.to_toml().unwrap()).unwrap();
            assert_eq!(back, config);
            // a file that does not say so is anchored, as all were before the key
            let text = config.to_toml().unwrap();
            assert!(!text.contains("anchored"));
            let apart = Config {
                anchored: false,
                ..config
            };
            let text = apart.to_toml().unwrap();
            assert!(text.contains("anchored = false"));
            assert_eq!(toml::from_str::<Config>(&text).unwrap(), apart);
        }
        let count = |preset| super::super::parameters(&Config::preset(preset, 0).unwrap()).unwrap();
        assert!(count(Preset::Tiny) < 2_000_000);
        let little = count(Preset::Little);
        assert!((10_000_000..20_000_000).contains(&little), "{little}");
        // a head narrower than a patch leaves a share of the noise that no training takes away
        let video = Config::preset(Preset::Little, 0).unwrap().backbone.video;
        assert!(video.dim > video.out_dim * video.patch_size.iter().product::<usize>());
        assert!(
            (30_000_000..80_000_000).contains(&count(Preset::Small)),
            "{}",
            count(Preset::Small)
        );
        // Ovi, OCF, MTP-CA
        assert_eq!(count(Preset::P720), 11_660_753_108 + 362_442_752 + 9_454_592);
    }

    #[test]
    fn the_stand_in_codec_is_refused_with_released_weights() {
        let mut config = Config::preset(Preset::Tiny, 0).unwrap();
        config.origin = Origin::Released;
        assert!(config.check().unwrap_err().to_string().contains("codec `linear`"));
        config.codec = CodecKind::Released;
        assert!(config.check().is_ok());
    }

    #[test]
    fn audio_captions_are_rewritten_both_ways_and_added_once() {
        let (tags, label) = (AudioCaption::Audcap, AudioCaption::Audio);
        assert_eq!(
            tags.apply("A room. Audio: rain", None),
            "A room. <AUDCAP>rain<ENDAUDCAP>"
        );
        assert_eq!(
            label.apply("A room. <AUDCAP>rain<ENDAUDCAP>", None),
            "A room. Audio: rain"
        );
        assert_eq!(label.apply("A room.", Some("rain")), "A room. Audio: rain");
        assert_eq!(
            tags.apply("A room. Audio: rain", Some("wind")),
            "A room. <AUDCAP>rain<ENDAUDCAP>"
        );
        let said = "He says, <S>Audio: on<E>";
        assert_eq!(tags.apply(said, None), said);
    }
}
