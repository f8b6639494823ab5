//! Files that hold no tensors: the names and shapes of published checkpoints, and means and deviations.

use super::{Check, Measure, Outcome};
use crate::{
    Result,
    net::{
        F5Text, F5TextConfig, FusionConfig, FusionModel, Umt5, Umt5Config,
        stats::{MMAUDIO_MEL, WAN22_LATENT},
        umt5::Naming,
        vae_audio::{AudioVae, AudioVaeConfig},
        vae_video::{VideoVae, VideoVaeConfig},
        vocoder::{Vocoder, VocoderConfig},
    },
    weights::Weights,
};
use std::{collections::BTreeMap, path::Path};

/// Names and shapes.
pub type Table = BTreeMap<String, Vec<usize>>;

type Build = fn(&Weights) -> Result<()>;

/// The released networks, by the name of their table. Shapes alone are made: nothing is allocated.
const RELEASED: &[(&str, Build)] = &[
    ("ovi_fusion", |weights| {
        FusionModel::new(&FusionConfig::ovi(), weights).map(drop)
    }),
    ("wan22_vae", |weights| {
        VideoVae::new(&VideoVaeConfig::wan22(), weights).map(drop)
    }),
    ("umt5_xxl_encoder", |weights| {
        Umt5::new(&Umt5Config::xxl(), Naming::Wan, weights).map(drop)
    }),
    ("mmaudio_vae_16k", |weights| {
        AudioVae::new(&AudioVaeConfig::mmaudio_16k(), weights).map(drop)
    }),
    ("bigvgan_16k", |weights| {
        Vocoder::new(&VocoderConfig::mmaudio_16k(), weights).map(drop)
    }),
    ("f5_text_embed", |weights| {
        let place = weights.pp("ema_model.transformer.text_embed");
        F5Text::new(&F5TextConfig::v1(), &place).map(drop)
    }),
];

/// Whether a file is one of these: `keys/NETWORK.tsv` or `latent_stats.json`.
pub(super) fn knows(path: &Path) -> bool {
    is_stats(path) || network(path).is_some()
}

fn is_stats(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "latent_stats.json")
}

fn network(path: &Path) -> Option<Build> {
    let place = path.parent()?.file_name()?;
    let stem = path.file_stem()?.to_str()?;
    let table = path.extension()? == "tsv" && place == "keys";
    let (_, build) = RELEASED.iter().find(|(name, _)| table && *name == stem)?;
    Some(*build)
}

/// What a released network asks for; `None` for a name that is none's.
///
/// Fails if the network asks for a tensor twice.
pub fn released(name: &str) -> Option<Result<Table>> {
    let (_, build) = RELEASED.iter().find(|(known, _)| *known == name)?;
    Some(asked(*build))
}

fn asked(build: Build) -> Result<Table> {
    let weights = Weights::shapes_only();
    build(&weights)?;
    weights.finish()?;
    let asked = weights.asked();
    let table: Table = asked.iter().cloned().collect();
    match table.len() == asked.len() {
        true => Ok(table),
        false => Err(crate::Error::Config("a tensor is asked for twice".into())),
    }
}

/// Checks such a file.
pub(super) fn check(path: &Path) -> Vec<Check> {
    let file = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let rows = match std::fs::read_to_string(path) {
        Err(error) => vec![("file".to_owned(), Outcome::Broken(error.to_string()))],
        Ok(text) if is_stats(path) => stats(&text),
        Ok(text) => vec![("names and shapes".to_owned(), names(&text, network(path)))],
    };
    let row = |(what, outcome)| Check {
        file: file.clone(),
        what,
        outcome,
    };
    rows.into_iter().map(row).collect()
}

/// Rows of `key<tab>1x2x3` behind a heading.
fn parse(text: &str) -> std::result::Result<Table, String> {
    let row = |(number, line): (usize, &str)| {
        let (key, shape) = line.split_once('\t').unwrap_or((line, ""));
        let sizes = shape.trim().split('x').filter(|size| !size.is_empty());
        let sizes: std::result::Result<Vec<usize>, _> = sizes.map(str::parse).collect();
        match sizes {
            Ok(sizes) => Ok((key.to_owned(), sizes)),
            Err(_) => Err(format!("line {}: `{shape}` is no shape", number + 1)),
        }
    };
    text.lines().enumerate().skip(1).map(row).collect()
}

fn names(text: &str, build: Option<Build>) -> Outcome {
    let both = || {
        let theirs = parse(text)?;
        let build = build.ok_or("no network of this name")?;
        Ok::<_, String>((theirs, asked(build).map_err(|error| error.to_string())?))
    };
    let (theirs, ours) = match both() {
        Ok(tables) => tables,
        Err(why) => return Outcome::Broken(why),
    };
    let other = |a: &Table, b: &Table| {
        let differing = a.iter().filter(|(key, shape)| b.get(*key) != Some(*shape));
        differing
            .map(|(key, shape)| format!("{key} {shape:?}"))
            .collect::<Vec<_>>()
    };
    let (missing, extra) = (other(&theirs, &ours), other(&ours, &theirs));
    match theirs.is_empty() || !missing.is_empty() || !extra.is_empty() {
        true => Outcome::Broken(format!(
            "{} of {} tensors are not ours ({}); {} of ours are not there ({})",
            missing.len(),
            theirs.len(),
            missing.first().map_or("", String::as_str),
            extra.len(),
            extra.first().map_or("", String::as_str),
        )),
        false => equal(),
    }
}

fn equal() -> Outcome {
    Outcome::Compared {
        error: 0.0,
        bound: 0.0,
        measure: Measure::Absolute,
    }
}

type Given = BTreeMap<String, BTreeMap<String, Vec<f64>>>;

fn stats(text: &str) -> Vec<(String, Outcome)> {
    let given: Given = match serde_json::from_str(text) {
        Ok(given) => given,
        Err(error) => return vec![("file".to_owned(), Outcome::Broken(error.to_string()))],
    };
    let ours: [(&str, &str, &[f64]); 4] = [
        ("wan22_vae_latent", "mean", &WAN22_LATENT.mean),
        ("wan22_vae_latent", "std", &WAN22_LATENT.std),
        ("mmaudio_16k_mel80", "mean", &MMAUDIO_MEL.mean),
        ("mmaudio_16k_mel80", "std", &MMAUDIO_MEL.std),
    ];
    let mut rows = Vec::new();
    for (network, fields) in &given {
        for (field, values) in fields {
            let known = ours
                .iter()
                .find(|(name, what, _)| name == network && what == field);
            let outcome = match known {
                None => Outcome::Unknown,
                Some((.., known)) if known.len() != values.len() => {
                    Outcome::Broken(format!("{} values, {} here", values.len(), known.len()))
                }
                Some((.., known)) => Outcome::Compared {
                    error: known
                        .iter()
                        .zip(values)
                        .map(|(a, b)| (a - b).abs())
                        .fold(0.0, f64::max),
                    bound: 0.0,
                    measure: Measure::Absolute,
                },
            };
            rows.push((format!("{network}.{field}"), outcome));
        }
    }
    match rows.is_empty() {
        true => vec![("file".to_owned(), Outcome::Broken("holds nothing".into()))],
        false => rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_with_one_other_shape_or_one_name_less_does_not_hold() {
        let table = released("f5_text_embed").unwrap().unwrap();
        let row = |(key, shape): (&String, &Vec<usize>)| {
            let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
            format!("{key}\t{}", sizes.join("x"))
        };
        let mut lines = vec!["key\tshape".to_owned()];
        lines.extend(table.iter().map(row));
        let build = network(Path::new("keys/f5_text_embed.tsv"));
        assert_eq!(names(&lines.join("\n"), build), equal());
        assert!(matches!(
            names(&lines[..lines.len() - 1].join("\n"), build),
            Outcome::Broken(_)
        ));
        lines[3] += "x7";
        assert!(matches!(names(&lines.join("\n"), build), Outcome::Broken(_)));
        lines[3] += "xy";
        assert!(matches!(names(&lines.join("\n"), build), Outcome::Broken(_)));
        assert!(matches!(names("key\tshape", build), Outcome::Broken(_)));
        assert!(!knows(Path::new("keys/other.tsv")) && !knows(Path::new("f5_text_embed.tsv")));
    }

    #[test]
    fn a_value_that_differs_is_told() {
        let mut values = WAN22_LATENT.mean.to_vec();
        values[7] += 0.5;
        let text =
            |values: &[f64]| format!(r#"{{"wan22_vae_latent": {{"mean": {values:?}, "median": [1.0]}}}}"#);
        let rows = stats(&text(&values));
        assert!(
            matches!(rows[0].1, Outcome::Compared { error, .. } if (0.49..0.51).contains(&error)),
            "{rows:?}"
        );
        assert_eq!(rows[1].1, Outcome::Unknown);
        assert!(matches!(stats(&text(&values[1..]))[0].1, Outcome::Broken(_)));
        assert!(matches!(stats("{}")[0].1, Outcome::Broken(_)));
    }
}
