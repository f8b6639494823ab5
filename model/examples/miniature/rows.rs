//! The rows of the paper's Table 2, each with the parts of those above it, and how each is trained.

use super::{
    samples::World,
    world::{CHANNELS, Kind, PHONEME_ROW, SOUND, TEXT},
};
use omni_model::{
    Result,
    net::{FusionConfig, MtpCaConfig, OcfConfig, StreamConfig},
    train::{CustomizerConfig, Recipe},
};
use std::f64::consts::PI;

/// Width of a token. A patch of a picture has 32 values, a latent of sound 20: either fits in.
const WIDTH: usize = 96;
const HEADS: usize = 4;
const BLOCKS: usize = 2;
/// Most rows of a prompt.
const ROOM: usize = 24;
/// Step sizes at the beginning and at the end.
const FIRST: f64 = 1.0;
const LAST: f64 = 0.05;
/// Of the streams before any row, of OCF and MTP-CA, of the streams within a row: factors on those.
const BEFORE: f64 = 2e-3;
const NEW: f64 = 3e-3;
const OLD: f64 = 1e-3;
/// Clips of each kind that rows are trained on, and those that the backbone is.
const CLIPS: u64 = 4096;
const BEFORE_CLIPS: u64 = 65_536;

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub name: &'static str,
    pub ocf: bool,
    pub anchored: bool,
    pub mtp: bool,
    /// MTP-CA with its mask; without it every text row sees every phoneme.
    pub masked: bool,
    pub speech: bool,
    pub curriculum: bool,
    /// Trained on clips some of which say the words of their caption.
    pub vocal: bool,
}

/// The streams alone, which every other row adds to.
pub const BASE: Row = Row {
    name: "base",
    ocf: false,
    anchored: true,
    mtp: false,
    masked: true,
    speech: false,
    curriculum: false,
    vocal: false,
};

/// The whole of the paper's.
pub const CURRICULUM: Row = Row {
    name: "curriculum",
    ocf: true,
    mtp: true,
    speech: true,
    curriculum: true,
    ..BASE
};

/// As the paper has them, and three more: the last one with the mask of MTP-CA taken off, and both of these on clips that say their
/// captions.
pub const ROWS: [Row; 9] = [
    BASE,
    Row {
        name: "ocf",
        ocf: true,
        anchored: false,
        ..BASE
    },
    Row {
        name: "sa-mrope",
        ocf: true,
        ..BASE
    },
    Row {
        name: "mtp-ca",
        ocf: true,
        mtp: true,
        ..BASE
    },
    Row {
        name: "speech-steps",
        ocf: true,
        mtp: true,
        speech: true,
        ..BASE
    },
    CURRICULUM,
    Row {
        name: "unmasked",
        masked: false,
        ..CURRICULUM
    },
    Row {
        name: "captions-said",
        vocal: true,
        ..CURRICULUM
    },
    Row {
        name: "captions-said-unmasked",
        vocal: true,
        masked: false,
        ..CURRICULUM
    },
];

/// One of the trainings of a row.
pub struct Stage {
    pub recipe: Recipe,
    pub world: World,
}

fn stream(stream: StreamConfig, channels: usize) -> StreamConfig {
    StreamConfig {
        dim: WIDTH,
        ffn_dim: 3 * WIDTH,
        num_heads: HEADS,
        num_layers: BLOCKS,
        in_dim: channels,
        out_dim: channels,
        freq_dim: 64,
        text_dim: TEXT,
        text_len: ROOM,
        // one latent of sound is a twentieth of a clip here, not a hundred and fiftieth
        temporal_rope_scaling_factor: 1.0,
        ..stream
    }
}

impl Row {
    /// The row of that name.
    pub fn named(name: &str) -> Option<Self> {
        ROWS.into_iter().find(|row| row.name == name)
    }

    /// Its network.
    pub fn network(&self) -> CustomizerConfig {
        let FusionConfig { video, audio } = FusionConfig::ovi();
        CustomizerConfig {
            backbone: FusionConfig {
                video: stream(video, CHANNELS),
                audio: stream(audio, SOUND),
            },
            ocf: self.ocf.then_some(OcfConfig {
                dim: WIDTH,
                heads: HEADS,
                ffn: 3 * WIDTH,
                layers: 2,
                text_dim: TEXT,
                video_dim: 4 * CHANNELS,
                audio_dim: SOUND,
                tts_dim: PHONEME_ROW,
            }),
            mtp_ca: self.mtp.then_some(MtpCaConfig {
                text_dim: TEXT,
                tts_dim: PHONEME_ROW,
                inner: 64,
                heads: 4,
                masked: self.masked,
            }),
        }
    }

    /// What every row begins from, as the paper's begin from Ovi: the streams alone, trained on prompts that describe faces and
    /// voices, without references.
    pub fn backbone(seed: u64, steps: u64) -> Result<Stage> {
        Ok(Stage {
            recipe: BASE.recipe("backbone", (seed, steps), "\"joint\"", [0.0, 1.0])?,
            world: World::new(&[(Kind::Plain, BEFORE_CLIPS)])?,
        })
    }

    /// Its trainings, one after the other. Every row takes 3 `steps` joint steps on clips of the three kinds in equal shares;
    /// rows with steps on speech take `steps` of those besides.
    pub fn stages(&self, seed: u64, steps: u64) -> Result<Vec<Stage>> {
        let (joint, both) = ("\"joint\"", "\"joint\", \"speech\"");
        let speech = (Kind::Speech, CLIPS);
        if self.curriculum {
            let first = self.recipe("stage1", (seed, 2 * steps), both, [0.0, 0.5])?;
            let second = self.recipe("stage2", (seed + 100, steps), joint, [0.5, 0.75])?;
            let third = self.recipe("stage3", (seed + 200, steps), joint, [0.75, 1.0])?;
            let stage = |recipe, kinds: &[(Kind, u64)]| -> Result<Stage> {
                Ok(Stage {
                    recipe,
                    world: self.world(kinds)?,
                })
            };
            return Ok(vec![
                stage(first, &[(Kind::Single, CLIPS), speech])?,
                stage(second, &[(Kind::Multi, CLIPS)])?,
                stage(third, &[(Kind::Cross, CLIPS)])?,
            ]);
        }
        let (pattern, total) = if self.speech {
            ("\"joint\", \"joint\", \"joint\", \"speech\"", 4 * steps)
        } else {
            (joint, 3 * steps)
        };
        let kinds = [
            (Kind::Single, CLIPS),
            (Kind::Multi, CLIPS),
            (Kind::Cross, CLIPS),
            speech,
        ];
        Ok(vec![Stage {
            recipe: self.recipe("all", (seed, total), pattern, [0.0, 1.0])?,
            world: self.world(&kinds)?,
        }])
    }

    /// So many clips of each kind, as the row has them.
    fn world(&self, kinds: &[(Kind, u64)]) -> Result<World> {
        let world = World::new(kinds)?;
        Ok(if self.vocal { world.vocal() } else { world })
    }

    /// `part` is where the training lies on the cosine of the whole row, 0..1.
    fn recipe(
        &self,
        stage: &str,
        (seed, steps): (u64, u64),
        pattern: &str,
        part: [f64; 2],
    ) -> Result<Recipe> {
        let [first, last] = part.map(|at| LAST + (FIRST - LAST) * 0.5 * (1.0 + (PI * at).cos()));
        let old = if stage == "backbone" { BEFORE } else { OLD };
        let table = |keys: &str, size: f64| {
            format!(
                "[[weights]]\nkeys = [{keys}]\nmode = \"train\"\nlr = {}\nlr_end = {}\nwarmup = 20\n",
                size * first,
                size * last
            )
        };
        let new = match (self.ocf, self.mtp) {
            (true, true) => table("\"ocf.*\", \"mtp_ca.*\"", NEW),
            (true, false) => table("\"ocf.*\"", NEW),
            _ => String::new(),
        };
        Recipe::parse(&format!(
            r#"
name = "{stage}"
seed = {seed}
steps = {steps}
pattern = [{pattern}]
recompute = false
anchored = {anchored}
take = {{ subjects = [1, 2], references = "{references}" }}
batch = {{ joint = 4, speech = 4 }}
loss = {{ video = 1.0, audio = 1.0, shift = 5.0 }}
dropout = {{ references = 0.0, text = 0.0, both = 0.0 }}
optimizer = {{ betas = [0.9, 0.99] }}
keep = {{ every = 200, last = 1, milestone = 0 }}
{new}{streams}"#,
            anchored = self.anchored,
            streams = table("\"*\"", old),
            references = if stage == "stage3" { "cross_pair" } else { "any" },
        ))
    }
}
