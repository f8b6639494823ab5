//! The networks, a file each. Names of weights are the checkpoints' own; shapes stand at the end of the line.

mod attention;
mod block;
mod config;
mod denoiser;
mod embed;
mod fusion;
mod layers;
mod positions;
mod stream;
mod time;

pub use attention::{Attention, FusionKeys};
pub use block::{Block, Modulation, Other};
pub use config::{FusionConfig, Modality, StreamConfig};
pub use denoiser::{Condition, Denoiser, Latents, RefLayout, References};
pub use fusion::FusionModel;
pub use layers::{LayerNorm, Linear};
pub use positions::{audio_rope, axis_frequencies, axis_pairs, point_rope, video_rope};
pub use stream::{Prepared, Stream, StreamInput};
pub use time::{TimeEmbedding, sinusoid};
