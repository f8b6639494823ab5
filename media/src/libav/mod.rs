//! Everything that calls FFmpeg. No FFmpeg type leaves this folder.

mod clip;
mod open;
mod pixels;
mod probe;
mod proxy;
mod sound;
mod swr;
mod version;
mod video;

pub use clip::{ClipWriter, read_mark};
pub use probe::probe;
pub use proxy::{Proxy, ProxyForm, can_make_proxies, proxy};
pub use sound::{read_audio, read_audio_16k};
pub use version::ffmpeg_version;
pub use video::{read_frames, read_frames_twice};
