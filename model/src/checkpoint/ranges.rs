//! What the numbers of `config.toml` may be: wide enough for any network that could be, and small enough that nothing that is
//! counted from them overflows or takes forever.

use super::Config;
use crate::{
    Error, Result,
    codec::{LONGEST, is_length},
    generate::{SIDE_MOST, STEPS_MOST},
    net::StreamConfig,
};

/// Of a row, a head count, a text.
const WIDTH: usize = 65_536;
/// Of the inside of a feed-forward layer.
const INNER: usize = 1 << 20;
/// Of a network.
const BLOCKS: usize = 1024;
/// Of a table of tokens.
const TOKENS: usize = 1 << 30;

/// Fails on the first number beyond its range, told with its key.
pub(super) fn check(config: &Config) -> Result<()> {
    for (key, value, most) in counts(config) {
        if value == 0 || value > most {
            return Err(Error::Config(format!(
                "{key} = {value} is not within 1 to {most}"
            )));
        }
    }
    let sampling = &config.sampling;
    if !is_length(sampling.seconds) {
        return Err(Error::Config(format!(
            "sampling.seconds = {}: it lies above 0 and is at most {LONGEST}",
            sampling.seconds
        )));
    }
    let strengths = [
        ("sampling.shift", sampling.shift),
        ("sampling.guidance_video", sampling.guidance_video),
        ("sampling.guidance_audio", sampling.guidance_audio),
    ];
    match strengths.into_iter().find(|(_, value)| !value.is_finite()) {
        Some((key, value)) => Err(Error::Config(format!("{key} = {value} is no number"))),
        None => Ok(()),
    }
}

/// Every count of the file: its key, its value, its most; the least is 1.
fn counts(config: &Config) -> Vec<(String, usize, usize)> {
    let mut all = Vec::new();
    let mut add = |part: &str, list: &[(&str, usize, usize)]| {
        all.extend(
            list.iter()
                .map(|(key, value, most)| (format!("{part}.{key}"), *value, *most)),
        );
    };
    add("backbone.video", &stream(&config.backbone.video));
    add("backbone.audio", &stream(&config.backbone.audio));
    if let Some(ocf) = &config.ocf {
        add(
            "ocf",
            &[
                ("dim", ocf.dim, WIDTH),
                ("heads", ocf.heads, WIDTH),
                ("ffn", ocf.ffn, INNER),
                ("layers", ocf.layers, BLOCKS),
                ("text_dim", ocf.text_dim, WIDTH),
                ("video_dim", ocf.video_dim, WIDTH),
                ("audio_dim", ocf.audio_dim, WIDTH),
                ("tts_dim", ocf.tts_dim, WIDTH),
            ],
        );
    }
    if let Some(mtp_ca) = &config.mtp_ca {
        add(
            "mtp_ca",
            &[
                ("text_dim", mtp_ca.text_dim, WIDTH),
                ("tts_dim", mtp_ca.tts_dim, WIDTH),
                ("inner", mtp_ca.inner, WIDTH),
                ("heads", mtp_ca.heads, WIDTH),
            ],
        );
    }
    let text = &config.text;
    add(
        "text",
        &[
            ("vocab", text.vocab, TOKENS),
            ("dim", text.dim, WIDTH),
            ("dim_attn", text.dim_attn, WIDTH),
            ("dim_ffn", text.dim_ffn, INNER),
            ("num_heads", text.num_heads, WIDTH),
            ("num_layers", text.num_layers, BLOCKS),
            ("num_buckets", text.num_buckets, WIDTH),
            ("max_distance", text.max_distance, TOKENS),
        ],
    );
    if let Some(speech) = &config.speech {
        add(
            "speech",
            &[
                ("text_num_embeds", speech.text_num_embeds, TOKENS),
                ("text_dim", speech.text_dim, WIDTH),
                ("conv_layers", speech.conv_layers, BLOCKS),
                ("conv_mult", speech.conv_mult, BLOCKS),
            ],
        );
    }
    add(
        "sampling",
        &[
            ("width", config.sampling.width, SIDE_MOST),
            ("height", config.sampling.height, SIDE_MOST),
            ("steps", config.sampling.steps, STEPS_MOST),
        ],
    );
    all
}

fn stream(stream: &StreamConfig) -> Vec<(&'static str, usize, usize)> {
    let mut all = vec![
        ("dim", stream.dim, WIDTH),
        ("ffn_dim", stream.ffn_dim, INNER),
        ("num_heads", stream.num_heads, WIDTH),
        ("num_layers", stream.num_layers, BLOCKS),
        ("in_dim", stream.in_dim, WIDTH),
        ("out_dim", stream.out_dim, WIDTH),
        ("freq_dim", stream.freq_dim, WIDTH),
        ("text_dim", stream.text_dim, WIDTH),
        ("text_len", stream.text_len, WIDTH),
    ];
    // the largest that the released networks have is 2
    all.extend(stream.patch_size.iter().map(|size| ("patch_size", *size, 64)));
    all
}

#[cfg(test)]
mod tests {
    use super::super::Preset;
    use super::*;

    #[test]
    fn numbers_beyond_their_range_are_told_by_their_key() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::preset(Preset::Tiny, 0).unwrap();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        let said = refused(|config| config.backbone.video.num_layers = 99_999_999_999);
        assert!(
            said.contains("backbone.video.num_layers = 99999999999 is not within 1 to 1024"),
            "{said}"
        );
        assert!(refused(|config| config.text.num_heads = 0).contains("text.num_heads = 0"));
        assert!(refused(|config| config.sampling.seconds = 1e30).contains("at most 3600"));
        assert!(refused(|config| config.sampling.seconds = f64::NAN).contains("sampling.seconds"));
        assert!(refused(|config| config.sampling.shift = f64::INFINITY).contains("sampling.shift"));
        assert!(refused(|config| config.sampling.width = 1 << 40).contains("sampling.width"));
        assert!(refused(|config| config.sampling.steps = usize::MAX).contains("sampling.steps"));
        assert!(refused(|config| config.ocf.as_mut().unwrap().heads = 0).contains("ocf.heads"));
    }
}
