//! Which FFmpeg libraries are linked.

use ffmpeg_next as ff;

/// Versions of the libraries, for example `avcodec 59.37.100, avformat 59.27.100`.
pub fn ffmpeg_version() -> String {
    let text = |version: u32| format!("{}.{}.{}", version >> 16, version >> 8 & 0xff, version & 0xff);
    format!(
        "avcodec {}, avformat {}",
        text(ff::codec::version()),
        text(ff::format::version())
    )
}
