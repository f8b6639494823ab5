//! Frames and waveforms in and out: files with pictures and sound become RGB images and samples.
//!
//! Who decodes what: FFmpeg every file with pictures and the sound beside them (cargo feature
//! `ffmpeg`, on by default), symphonia audio-only files, `image` PNG, JPEG and WebP.
//! What is here knows nothing of clips, faces, speakers or tables; it never prints and never looks
//! at the environment. Corpora are hostile: every entry point takes [`Limits`] and answers with an
//! [`Error`] whose [`Error::reason`] is one fixed word.

mod cut;
mod error;
#[cfg(feature = "ffmpeg")]
mod identity;
#[cfg(feature = "ffmpeg")]
mod libav;
mod picture;
mod rates;
mod resample;
mod sinc;
mod sound_file;
mod types;
mod wav;
mod window;

pub use cut::cut;
pub use error::Error;
#[cfg(feature = "ffmpeg")]
pub use libav::{
    ClipWriter, Proxy, ProxyForm, can_make_proxies, ffmpeg_version, probe, proxy, read_audio, read_audio_16k,
    read_frames, read_frames_twice, read_mark,
};
pub use picture::{decode_picture, png, thumbnail};
pub use rates::{fps_map, linspace_frames};
pub use resample::resample;
pub use sinc::resample_sinc;
pub use sound_file::read_audio_file;
pub(crate) use types::Colours;
pub use types::{AudioInfo, Frame, Image, Limits, MediaInfo, Pcm, Span, VideoInfo, Waveform};
pub use wav::wav_s16;
pub use window::{Window, read_window, split_window, window_path};
