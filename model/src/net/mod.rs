//! The networks, a file each. Names of weights are the checkpoints' own; shapes stand at the end of the line.

mod attention;
mod block;
mod config;
mod denoiser;
mod embed;
mod f5_text;
mod fusion;
mod layers;
pub mod mel;
mod mtp_ca;
mod ocf;
mod positions;
pub mod sa_mrope;
pub mod stats;
mod stream;
mod time;
pub mod umt5;
pub mod vae_audio;
pub mod vae_video;
pub mod vocoder;

pub use attention::{Attention, FusionKeys};
pub use block::{Block, Modulation, Other};
pub use config::{FusionConfig, Modality, StreamConfig};
pub use denoiser::{Condition, Denoiser, Latents, RefLayout, References};
pub use f5_text::{ConvNext, F5Text, F5TextConfig, Grn, positions as f5_positions};
pub use fusion::FusionModel;
pub use layers::{LayerNorm, Linear};
pub use mtp_ca::{MtpCa, MtpCaConfig};
pub use ocf::{Ocf, OcfConfig, OcfInput, OcfOutput};
pub use positions::{audio_rope, axis_frequencies, axis_pairs, point_rope, video_rope};
pub use stream::{Prepared, Stream, StreamInput};
pub use time::{TimeEmbedding, sinusoid};
pub use umt5::{Umt5, Umt5Config};
