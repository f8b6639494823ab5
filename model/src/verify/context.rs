//! OCF, SA-MRoPE and MTP-CA.

use super::golden::{Golden, flat};
use crate::{
    Result,
    net::{
        MtpCa, MtpCaConfig, Ocf, OcfConfig, OcfInput,
        sa_mrope::{Prompt, Settings, Subject, Utterance},
    },
};
use candle_core::Tensor;

/// The prompt that the configuration describes.
fn prompt(golden: &Golden) -> Result<Prompt> {
    let spans: Vec<(usize, usize)> = golden.entry("descriptor_spans")?;
    let refs: Vec<(usize, usize, usize)> = golden.entry("refs")?;
    let utterances: Vec<(usize, usize, usize)> = golden.entry("utterances")?;
    let subject =
        |((start, end), (rows, columns, voice)): (&(usize, usize), &(usize, usize, usize))| Subject {
            descriptor: Some(*start..*end),
            picture: (*rows, *columns),
            voice: *voice,
        };
    let utterance = |(start, end, phonemes): &(usize, usize, usize)| Utterance {
        span: *start..*end,
        phonemes: *phonemes,
    };
    Ok(Prompt {
        text: golden.entry("n_text")?,
        subjects: spans.iter().zip(&refs).map(subject).collect(),
        utterances: utterances.iter().map(utterance).collect(),
    })
}

/// Positions, mask, the enriched text after each block, and the text with phonemes.
pub(super) fn ocf_mtp_ca(golden: &mut Golden) -> Result<()> {
    let prompt = prompt(golden)?;
    let points = prompt.points(&Settings::default())?;
    golden.absolute("pos.anchor_t", &points.anchors, 0.0)?;
    for (name, points) in [
        ("pos.text", &points.text),
        ("pos.video", &points.video),
        ("pos.audio", &points.audio),
        ("pos.tts", &points.tts),
    ] {
        golden.absolute(name, points.as_flattened(), 1e-5)?;
    }
    let mask: Vec<f64> = prompt
        .mask()
        .concat()
        .into_iter()
        .map(|seen| f64::from(u8::from(seen)))
        .collect();
    golden.absolute("mtp.mask", &mask, 0.0)?;

    let text_dim = golden.entry("text_dim")?;
    let tts_dim = golden.entry("tts_dim")?;
    let config = OcfConfig {
        dim: golden.entry("dim")?,
        heads: golden.entry("heads")?,
        ffn: golden.entry("ffn")?,
        layers: golden.entry("layers")?,
        text_dim,
        video_dim: golden.entry("video_dim")?,
        audio_dim: golden.entry("audio_dim")?,
        tts_dim,
    };
    let mtp = MtpCaConfig {
        text_dim,
        tts_dim,
        inner: golden.entry("mtp_inner")?,
        heads: golden.entry("mtp_heads")?,
        masked: true,
    };
    let weights = golden.weights("w.")?;
    let ocf = Ocf::new(&config, &weights.pp("ocf"))?;
    let mtp = MtpCa::new(&mtp, &weights.pp("mtp_ca"))?;
    weights.finish()?;

    let some = |tensor: Tensor| (flat(&tensor).is_ok_and(|values| !values.is_empty())).then_some(tensor);
    let tts = golden.tensor("in.tts")?;
    let input = OcfInput {
        text: golden.tensor("in.text")?,
        video: some(golden.tensor("in.video_ref_tokens")?),
        audio: some(golden.tensor("in.audio_ref_tokens")?),
        tts: some(tts.clone()),
    };
    let out = ocf.forward(&input, &points)?;
    for (block, text) in out.enriched.iter().enumerate() {
        golden.relative(&format!("mid.ocf.after_block{block}"), text, 1e-5)?;
    }
    let text = out.enriched.last().unwrap_or(&input.text);
    golden.relative("out.ocf", text, 1e-5)?;
    let spoken = mtp.forward(text, &tts, &prompt, &points)?;
    golden.relative("out.mtp_ca", &spoken, 1e-5)
}
