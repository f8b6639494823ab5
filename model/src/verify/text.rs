//! The text encoders.

use super::golden::{Golden, flat};
use crate::{
    Error, Result,
    net::{
        ConvNext, F5Text, F5TextConfig, Umt5, Umt5Config, f5_positions,
        umt5::{Naming, bucket},
    },
};
use candle_core::Tensor;

const NETWORK: f64 = 1e-5;

/// F5's text embedding at several lengths, masked and not, and one block alone.
pub(super) fn f5_text(golden: &mut Golden) -> Result<()> {
    let masked: F5TextConfig = golden.config()?;
    let open = F5TextConfig {
        mask_padding: false,
        ..masked.clone()
    };
    let tokens = golden
        .tensor("in.tokens")?
        .to_dtype(candle_core::DType::I64)?
        .to_vec2::<i64>()?;
    for (name, config) in [("mask", masked.clone()), ("nomask", open)] {
        let weights = golden.weights("w.")?;
        let network = F5Text::new(&config, &weights)?;
        weights.finish()?;
        for out in golden.names(&format!("{name}.out.seq")) {
            let ours = encode(&network, &tokens, &out[name.len() + ".out.seq".len()..])?;
            golden.relative(&out, &ours, NETWORK)?;
        }
    }
    for name in golden.names("freqs_cis_") {
        let unknown = || Error::Input(format!("`{name}` names no table"));
        let (dim, rows) = name["freqs_cis_".len()..].split_once('.').ok_or_else(unknown)?;
        let dim: usize = dim.parse().map_err(|_| unknown())?;
        let count = |text: &str| text.parse::<usize>().map_err(|_| unknown());
        let ours = if let Some(rows) = rows.strip_prefix("first") {
            f5_positions(count(rows)?, dim)
        } else {
            let row = count(rows.strip_prefix("row").ok_or_else(unknown)?)?;
            f5_positions(row + 1, dim).split_off(row * dim)
        };
        // the reference multiplies places and frequencies in f32
        golden.absolute(&name, &ours, 2e-5)?;
    }
    let dim = golden.tensor("block.in")?.dim(2)?;
    let weights = golden.weights("block.w.")?;
    let block = ConvNext::new(&weights, dim, dim * masked.conv_mult)?;
    weights.finish()?;
    each(golden, "block.in", "block.out", |x| block.forward(x))?;
    each(golden, "block.grn.in", "block.grn.out", |x| {
        block.grn().forward(x)
    })
}

/// `14`, `20.drop_text`, or a length per sample: `_tensor_20_12`.
fn encode(network: &F5Text, tokens: &[Vec<i64>], case: &str) -> Result<Tensor> {
    let unknown = |_| Error::Input(format!("`{case}` names no length"));
    let mut rows = Vec::new();
    if let Some(lengths) = case.strip_prefix("_tensor_") {
        let lengths: Vec<usize> = lengths
            .split('_')
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()
            .map_err(unknown)?;
        let longest = lengths.iter().copied().max().unwrap_or_default();
        for (tokens, length) in tokens.iter().zip(lengths) {
            rows.push(network.forward(&tokens[..length.min(tokens.len())], longest)?);
        }
    } else {
        let (length, dropped) = match case.strip_suffix(".drop_text") {
            Some(length) => (length, true),
            None => (case, false),
        };
        let length = length.parse().map_err(unknown)?;
        for tokens in tokens {
            rows.push(if dropped {
                network.dropped(tokens, length)?
            } else {
                network.forward(tokens, length)?
            });
        }
    }
    Ok(Tensor::stack(&rows, 0)?)
}

/// `f` of each sample of a batch.
fn each(golden: &mut Golden, from: &str, to: &str, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<()> {
    let batch = golden.tensor(from)?;
    let samples: Vec<Tensor> = (0..batch.dim(0)?)
        .map(|sample| f(&batch.get(sample)?))
        .collect::<Result<_>>()?;
    golden.relative(to, &Tensor::stack(&samples, 0)?, NETWORK)
}

/// UMT5 in the reference's names.
pub(super) fn umt5_wan(golden: &mut Golden) -> Result<()> {
    let config: Umt5Config = golden.config()?;
    let network = umt5(golden, &config, Naming::Wan)?;
    if golden.has("rel_pos") {
        let distances: Vec<i64> = golden.values("rel_pos")?.iter().map(|far| *far as i64).collect();
        let ours = distances
            .iter()
            .map(|far| bucket(*far, config.num_buckets, config.max_distance));
        golden.absolute("rel_pos_bucket", &ours.map(f64::from).collect::<Vec<_>>(), 0.0)?;
    }
    let Some(block) = network.blocks.first() else {
        return Ok(());
    };
    for name in golden.names("block0.pos_bias_") {
        let size = golden.stored(&name)?.shape[2];
        let bias = block.bias(size)?; // (heads, 2 size - 1)
        let rows: Vec<Tensor> = (0..size)
            .map(|query| bias.narrow(1, size - 1 - query, size))
            .collect::<candle_core::Result<_>>()?;
        golden.relative(&name, &Tensor::stack(&rows, 1)?.unsqueeze(0)?, NETWORK)?;
    }
    if golden.has("mid.x") {
        each(golden, "mid.x", "mid.block0.norm1", |x| block.norm(x))?;
        each(golden, "mid.x", "mid.block0.attn_nobias", |x| {
            block.attention(x, false)
        })?;
        each(golden, "mid.x", "mid.block0.ffn", |x| block.feed_forward(x))?;
    }
    Ok(())
}

/// UMT5 in the published encoder's names.
pub(super) fn umt5_hf(golden: &mut Golden) -> Result<()> {
    let heads: usize = golden.entry("num_heads")?;
    let size: usize = golden.entry("d_kv")?;
    let config = Umt5Config {
        vocab: golden.entry("vocab_size")?,
        dim: golden.entry("d_model")?,
        dim_attn: heads * size,
        dim_ffn: golden.entry("d_ff")?,
        num_heads: heads,
        num_layers: golden.entry("num_layers")?,
        num_buckets: golden.entry("relative_attention_num_buckets")?,
        max_distance: golden.entry("relative_attention_max_distance")?,
        eps: golden.entry("layer_norm_epsilon")?,
    };
    umt5(golden, &config, Naming::HuggingFace).map(drop)
}

/// Loads the encoder and compares its outputs, real tokens only: rows of pads are never used.
fn umt5(golden: &mut Golden, config: &Umt5Config, naming: Naming) -> Result<Umt5> {
    let weights = golden.weights("w.")?;
    let network = Umt5::new(config, naming, &weights)?;
    weights.finish()?;
    for case in ["", "_long"] {
        if !golden.has(&format!("out.y{case}")) {
            continue;
        }
        let ids = golden
            .tensor(&format!("in.ids{case}"))?
            .to_dtype(candle_core::DType::U32)?
            .to_vec2::<u32>()?;
        let mask = golden.tensor(&format!("in.mask{case}"))?;
        let (mut ours, mut stored) = (Vec::new(), Vec::new());
        let out = golden.tensor(&format!("out.y{case}"))?;
        for (sample, ids) in ids.iter().enumerate() {
            let mask = flat(&mask.get(sample)?)?;
            let length = mask.iter().take_while(|seen| **seen != 0.0).count();
            if mask[length..].iter().any(|seen| *seen != 0.0) {
                return Err(Error::Input("a mask with holes".to_owned()));
            }
            ours.push(network.forward(&ids[..length])?);
            stored.push(out.get(sample)?.narrow(0, 0, length)?);
        }
        let (ours, stored) = (Tensor::cat(&ours, 0)?, Tensor::cat(&stored, 0)?);
        golden.compare(&format!("out.y{case}"), &ours, &stored, NETWORK)?;
    }
    Ok(network)
}
