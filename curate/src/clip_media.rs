//! Opens the media of a clip the way every stage does: its stretch of the file, the usual limits, and the media crate's
//! own reason when it cannot be used.

use crate::kit::media_fault;
use omni_media::{Limits, Pcm, Span, Waveform};
use omni_pipeline::{Cx, Fault};
use omni_schemas::Clip;

/// The stretch of the file that is the clip.
pub(crate) fn span(clip: &Clip) -> Span {
    Span {
        start: clip.start,
        end: clip.end,
    }
}

/// Its sound as the networks hear it: one channel, 16 kHz.
pub(crate) fn speech(clip: &Clip, cx: &Cx<'_>) -> Result<Waveform, Fault> {
    let path = cx.root.join(&clip.path);
    let wave = omni_media::read_audio_16k(&path, &span(clip), &Limits::default()).map_err(media_fault)?;
    cx.alive();
    Ok(wave)
}

/// Its sound as it is, with all channels.
pub(crate) fn sound(clip: &Clip, cx: &Cx<'_>) -> Result<Pcm, Fault> {
    let path = cx.root.join(&clip.path);
    let pcm = omni_media::read_audio(&path, &span(clip), &Limits::default()).map_err(media_fault)?;
    cx.alive();
    Ok(pcm)
}
