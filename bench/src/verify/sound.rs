//! `wavlm/`, `audiobox/` and `resample/`: voices, ratings of sound, resampling.

use omni_media::resample_sinc;
use omni_perception::{
    audio::{
        audiobox::{AXES, AudioBox, Scale, overall, pieces, weight},
        wavlm::{WavLm, levelled},
    },
    imagebind::cosine,
};

use super::{
    Desk, Entry, Verifier,
    files::{Json, Problem},
};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        folder: "wavlm",
        file: "wavlm.json",
        run: voices,
    },
    Entry {
        folder: "audiobox",
        file: "audiobox.json",
        run: ratings,
    },
    Entry {
        folder: "resample",
        file: "resample.json",
        run: resampling,
    },
];

fn voices(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let golden = desk.json("wavlm.json")?;
    let tensors = desk.tensors("wavlm.safetensors")?;
    let speakers = |kind: &str| -> Vec<String> {
        let prefix = format!("{kind}_emb_");
        tensors
            .names()
            .filter_map(|name| name.strip_prefix(&prefix).map(str::to_owned))
            .collect()
    };
    for name in speakers("xvec") {
        let wave = desk.wave(&format!("spk_{name}.wav"))?;
        let want = tensors.f32s(&format!("xvec_input_{name}"))?;
        desk.close32(
            &format!("spk_{name}: levelled wave"),
            &levelled(&wave),
            &want,
            1e-5,
        );
    }
    let graphs = [
        ("xvec", "xvector", "wavlm_xvector_reduced.onnx", 1e-4),
        ("ecapa", "ecapa", "wavlm_ecapa_reduced.onnx", 1e-3),
    ];
    for (kind, key, graph, tolerance) in graphs {
        if !desk.needs(graph) {
            continue;
        }
        let file = desk.file(graph)?;
        let network = WavLm::open(&desk.runtime()?, &file, Verifier::network(graph))?;
        let mut vectors = Vec::new();
        let names = speakers(kind);
        if names.is_empty() {
            return Err(Problem::key(&format!("{kind}_emb_*"), "is missing"));
        }
        for name in names {
            let vector = network.embed(&desk.wave(&format!("spk_{name}.wav"))?)?;
            let want = tensors.f32s(&format!("{kind}_emb_{name}"))?;
            desk.close32(&format!("spk_{name}: {kind} vector"), &vector, &want, tolerance);
            vectors.push(vector);
        }
        if let [a, b] = &vectors[..] {
            let want = golden.at(key)?.number("cosine")?;
            let got = cosine(a, b).unwrap_or(f64::NAN);
            desk.judge(&format!("{kind}: cosine of the two"), (got - want).abs(), 1e-4);
        }
    }
    Ok(())
}

fn ratings(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let golden = desk.json("audiobox.json")?;
    let mut lengths = Vec::new();
    for (samples, want) in golden.at("chunks")?.as_object().into_iter().flatten() {
        let samples: usize = samples.parse().map_err(|error| Problem::key(samples, error))?;
        let valid = pieces(samples);
        desk.equal(
            &format!("{samples} samples: pieces"),
            &valid.len(),
            &want.count("count")?,
        );
        let weights: Vec<f64> = valid.iter().map(|valid| weight(*valid)).collect();
        desk.close(
            &format!("{samples} samples: weights"),
            &weights,
            &want.read::<Vec<f64>>("weights")?,
            1e-9,
        );
        lengths.push((format!("{samples} samples"), valid, want.read("valid")?));
    }
    desk.all_equal("samples in each piece", &lengths);
    let example = golden.at("example")?;
    if !desk.needs("audiobox_reduced.onnx") {
        return Ok(());
    }
    let file = desk.file("audiobox_reduced.onnx")?;
    let network = AudioBox::open(
        &desk.runtime()?,
        &file,
        Verifier::network("audiobox_reduced.onnx"),
    )?;
    let wave = desk.wave(example.text("wav")?)?;
    let raw = network.rate(&wave)?;
    let tensors = desk.tensors("audiobox.safetensors")?;
    for (axis, name) in AXES.into_iter().enumerate() {
        let got: Vec<f32> = raw.iter().map(|row| row[axis]).collect();
        desk.close32(
            &format!("{name} of each piece"),
            &got,
            &tensors.f32s(&format!("raw_{name}"))?,
            1e-4,
        );
    }
    let weights: Vec<f64> = pieces(wave.len()).into_iter().map(weight).collect();
    desk.close(
        "weights of the example",
        &weights,
        &example.read::<Vec<f64>>("chunk_weights")?,
        1e-6,
    );
    let transform = example.at("target_transform_used_here")?;
    let mut scales = [Scale { mean: 0.0, std: 1.0 }; 4];
    for (scale, name) in scales.iter_mut().zip(AXES) {
        *scale = transform.read(name)?;
    }
    let whole = overall(&raw, &weights, &scales).ok_or_else(|| Problem::Answer("no pieces".to_owned()))?;
    let expected = example.at("expected")?;
    for (got, name) in whole.into_iter().zip(AXES) {
        desk.judge(
            &format!("{name} of the whole"),
            (got - expected.number(name)?).abs(),
            1e-4,
        );
    }
    Ok(())
}

/// `torchaudio` is ours to equal. The other tools' outputs are there to show how far apart resamplers are: their
/// distance from ours is compared with their distance from torchaudio.
fn resampling(desk: &mut Desk<'_>) -> Result<(), Problem> {
    let facts = desk.json("resample.json")?;
    let tensors = desk.tensors("resample.safetensors")?;
    let names: Vec<String> = tensors.names().map(str::to_owned).collect();
    for name in &names {
        let Some((tool, rates)) = name
            .split_once(|c: char| c.is_ascii_digit())
            .and_then(|(tool, _)| {
                let tool = tool.strip_suffix('_')?;
                Some((tool, name.strip_prefix(tool)?.strip_prefix('_')?))
            })
        else {
            continue;
        };
        let Some((from, to)) = rates.split_once('_') else {
            continue;
        };
        let rate = |text: &str| text.parse::<u32>().map_err(|error| Problem::key(name, error));
        let got = resample_sinc(&tensors.f32s(&format!("in_{from}"))?, rate(from)?, rate(to)?);
        let want = tensors.f32s(name)?;
        let length = facts.at(from)?.at(tool)?.count("len")?;
        desk.equal(
            &format!("{from} -> {to} Hz: samples of {tool}"),
            &want.len(),
            &length,
        );
        if tool == "torchaudio" {
            desk.close32(&format!("{from} -> {to} Hz"), &got, &want, 1e-5);
        } else if let Some(rms) = facts
            .at(from)?
            .at(tool)?
            .get("rms_all")
            .and_then(serde_json::Value::as_f64)
        {
            let squares = got
                .iter()
                .zip(&want)
                .map(|(a, b)| f64::from(a - b).powi(2))
                .sum::<f64>();
            let apart = (squares / want.len().max(1) as f64).sqrt();
            desk.judge(
                &format!("{from} -> {to} Hz: distance of {tool}"),
                (apart - rms).abs(),
                1e-5,
            );
        }
    }
    Ok(())
}
