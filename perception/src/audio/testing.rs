//! What the sound tests share.

use std::process::Command;

use crate::runtime::testing;

/// The tensors of a golden file, or `None` where the shared folder is not here.
pub(crate) fn tensors(name: &str) -> Option<Vec<u8>> {
    testing::shared(&format!("golden/metrics/{name}")).map(|path| std::fs::read(path).unwrap())
}

/// An f32 tensor of a safetensors file.
pub(crate) fn f32s(file: &[u8], name: &str) -> Vec<f32> {
    let file = safetensors::SafeTensors::deserialize(file).unwrap();
    let bytes = file.tensor(name).unwrap().data().to_vec();
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

/// The golden recording, as samples / 32768.
pub(crate) fn jfk() -> Option<Vec<f32>> {
    let bytes = tensors("whisper/jfk_16k_s16.wav")?;
    let data = bytes.windows(4).position(|w| w == b"data").unwrap() + 8;
    Some(samples(&bytes[data..]))
}

/// Sound of a shared clip as `ffmpeg -ac 1 -ar 16000` gives it, or `None` (with a printed line).
pub(crate) fn clip(path: &str) -> Option<Vec<f32>> {
    let file = testing::shared(&format!("media/{path}"))?;
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file)
        .args(["-ac", "1", "-ar", "16000", "-f", "s16le", "-"])
        .output();
    match out {
        Ok(out) if out.status.success() => Some(samples(&out.stdout)),
        _ => {
            println!("skipped: the ffmpeg command is not here");
            None
        }
    }
}

fn samples(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(2)
        .map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0)
        .collect()
}
