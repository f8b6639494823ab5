//! What a file of weights is, and the same weights in another form.

use super::{CONFIG, Config, Network, Preset, into_new_folder};
use crate::{
    Error, Result,
    generate::Precision,
    net::{Umt5, Umt5Config, umt5::Naming},
    verify::tables::{Table, released},
    weights::{Entry, Found, Weights, open_source, write_parts},
};
use candle_core::{DType, Device, Tensor};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Names listed of what is missing or not known.
const LISTED: usize = 20;

/// A published network that a file may hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KnownNetwork {
    /// Its name here.
    pub name: String,
    /// Its tensors that the file has.
    pub present: usize,
    /// Of them, those of another shape than the published network's.
    pub other_shape: usize,
    /// The first names that the file lacks.
    pub missing: Vec<String>,
    /// How many it lacks in all.
    pub missing_count: usize,
}

/// What a file or folder of weights is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The networks it holds something of, the most certain first.
    pub networks: Vec<KnownNetwork>,
    /// Tensors.
    pub tensors: usize,
    /// Values.
    pub parameters: u64,
    /// Bytes of them as stored.
    pub bytes: u64,
    /// Number of tensors of each type.
    pub dtypes: BTreeMap<String, usize>,
    /// The first names that belong to none of the networks.
    pub unknown: Vec<String>,
    /// How many belong to none.
    pub unknown_count: usize,
    /// Blocks of the backbone's streams, if it is one.
    pub blocks: Option<usize>,
}

const RELEASED: &[&str] = &[
    "ovi_fusion",
    "wan22_vae",
    "umt5_xxl_encoder",
    "mmaudio_vae_16k",
    "bigvgan_16k",
    "f5_text_embed",
];

fn asked(build: impl FnOnce(&Weights) -> Result<()>) -> Result<Table> {
    let weights = Weights::shapes_only();
    build(&weights)?;
    Ok(weights.asked().into_iter().collect())
}

/// Names and shapes of every network that can be told from others by its names.
fn known() -> Result<Vec<(String, Table)>> {
    let mut all = Vec::new();
    for name in RELEASED {
        if let Some(table) = released(name) {
            all.push(((*name).to_owned(), table?));
        }
    }
    let theirs = |weights: &Weights| Umt5::new(&Umt5Config::xxl(), Naming::HuggingFace, weights).map(drop);
    all.push((
        "umt5_xxl_encoder (Hugging Face's names)".to_owned(),
        asked(theirs)?,
    ));
    let paper = Config::preset(Preset::P720, 0)?;
    let whole = asked(|weights| Network::new(&paper, weights).map(drop))?;
    for (name, prefix) in [("ocf", "ocf."), ("mtp_ca", "mtp_ca.")] {
        let own = whole.iter().filter(|(key, _)| key.starts_with(prefix));
        let table = own.map(|(key, shape)| (key.clone(), shape.clone())).collect();
        all.push((name.to_owned(), table));
    }
    Ok(all)
}

/// What the names are held against: the networks of the folder's own `config.toml`, where it is a checkpoint, else all that
/// are known.
fn tables(path: &Path) -> Result<Vec<(String, Table)>> {
    let config = path.join(CONFIG);
    if !config.is_file() {
        return known();
    }
    let config = Config::read(&config)?;
    let own = asked(|weights| Network::new(&config, weights).map(drop))?;
    Ok(vec![(format!("its own {CONFIG}"), own)])
}

/// Looks into a file of tensors (safetensors, or PyTorch's read as data) or a folder of safetensors; a checkpoint's folder is
/// held against its own configuration. Fails if it is damaged, or a pickle that names anything but tensors.
pub fn inspect(path: &Path) -> Result<Inspection> {
    let source = open_source(path)?;
    let entries = source.entries();
    let names: BTreeMap<&str, &Entry> = entries.iter().map(|entry| (entry.name.as_str(), entry)).collect();
    let mut claimed: BTreeSet<&str> = BTreeSet::new();
    let tables = tables(path)?;
    let mut networks: Vec<KnownNetwork> = Vec::new();
    for (name, table) in &tables {
        let present: Vec<&str> = names
            .keys()
            .filter(|key| table.contains_key(**key))
            .copied()
            .collect();
        // a few names in common (`conv1.weight`) make no network
        if present.is_empty() || present.len() * 20 < table.len().min(entries.len()) {
            continue;
        }
        let shape = |key: &&&str| table.get(**key) != names.get(**key).map(|entry| &entry.shape);
        let missing: Vec<&String> = table
            .keys()
            .filter(|key| !names.contains_key(key.as_str()))
            .collect();
        networks.push(KnownNetwork {
            name: name.clone(),
            present: present.len(),
            other_shape: present.iter().filter(shape).count(),
            missing: missing.iter().take(LISTED).map(|key| (*key).clone()).collect(),
            missing_count: missing.len(),
        });
        claimed.extend(present);
    }
    networks.sort_by_key(|network| std::cmp::Reverse(network.present));
    let unknown: Vec<&&str> = names.keys().filter(|name| !claimed.contains(**name)).collect();
    let mut dtypes = BTreeMap::new();
    for entry in &entries {
        *dtypes
            .entry(format!("{:?}", entry.dtype).to_lowercase())
            .or_default() += 1;
    }
    let size = |entry: &Entry| entry.count() as u64 * entry.dtype.size_in_bytes() as u64;
    Ok(Inspection {
        tensors: entries.len(),
        parameters: entries.iter().map(|entry| entry.count() as u64).sum(),
        bytes: entries.iter().map(size).sum(),
        dtypes,
        unknown: unknown
            .iter()
            .take(LISTED)
            .map(|name| (**name).to_owned())
            .collect(),
        unknown_count: unknown.len(),
        blocks: blocks(&entries),
        networks,
    })
}

/// One more than the largest block number of the video stream.
fn blocks(entries: &[Entry]) -> Option<usize> {
    let number = |entry: &Entry| {
        let tail = entry.name.strip_prefix("video_model.blocks.")?;
        tail.split('.').next()?.parse::<usize>().ok()
    };
    entries.iter().filter_map(number).max().map(|last| last + 1)
}

/// Writes the tensors of `from` (a file of either kind, or a folder) into a new folder as safetensors of at most `most`
/// bytes each, names unchanged, floating-point values in `precision` if one is given. `watch` is told of each name.
///
/// Fails if `from` is damaged, `to` is there already, or it cannot be written; nothing is left then.
pub fn convert(
    from: &Path,
    to: &Path,
    precision: Option<Precision>,
    most: u64,
    watch: &mut dyn FnMut(&str),
) -> Result<u64> {
    let dtype = precision.map(Precision::dtype);
    let source = open_source(from)?;
    let entries = source.entries();
    if entries.is_empty() {
        return Err(Error::Format {
            path: from.to_owned(),
            kind: "a file of weights",
            why: "it holds no tensor".to_owned(),
        });
    }
    let cast = |entry: &Entry| {
        let float = matches!(
            entry.dtype,
            DType::F64 | DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3
        );
        Entry {
            dtype: dtype.filter(|_| float).unwrap_or(entry.dtype),
            ..entry.clone()
        }
    };
    let wanted: Vec<Entry> = entries.iter().map(cast).collect();
    let mut bytes = 0;
    into_new_folder(to, |place| {
        let parts = write_parts(place, "model", &wanted, most, &mut |entry| {
            watch(&entry.name);
            match source.load(&entry.name, &entry.shape, &Device::Cpu)? {
                // by f32, which every pair of types can go through
                Found::Tensor(tensor) if tensor.dtype() != entry.dtype => {
                    holds(from, &entry.name, &tensor, entry.dtype)?;
                    Ok(tensor.to_dtype(DType::F32)?.to_dtype(entry.dtype)?)
                }
                Found::Tensor(tensor) => Ok(tensor),
                Found::Absent | Found::ShapeOnly => {
                    Err(Error::Input(format!("`{}` is listed and not there", entry.name)))
                }
            }
        })?;
        bytes = parts.iter().map(|part| part.bytes).sum();
        Ok(())
    })?;
    Ok(bytes)
}

/// Values that are looked at together.
const CHUNK: usize = 1 << 20;

/// Fails on values that a type would make infinite, with the largest of them.
fn holds(from: &Path, name: &str, tensor: &Tensor, dtype: DType) -> Result<()> {
    if !matches!(tensor.dtype(), DType::F64 | DType::F32 | DType::BF16) {
        return Ok(()); // narrower ones fit into all
    }
    // the largest value and half a step more, from which on rounding goes to infinity
    let (most, beyond) = match dtype {
        DType::F16 => (65_504.0, 65_520.0),
        DType::BF16 => (3.389_531_389_251_535e38, 3.396_177_529_230_46e38),
        _ => (f64::from(f32::MAX), 3.402_823_567_797_336_6e38),
    };
    let values = tensor.flatten_all()?;
    let count = values.elem_count();
    let mut largest = 0.0f64;
    for start in (0..count).step_by(CHUNK) {
        let chunk = values.narrow(0, start, CHUNK.min(count - start))?;
        for value in chunk.to_dtype(DType::F64)?.to_vec1::<f64>()? {
            // what was infinite stays so
            if value.is_finite() {
                largest = largest.max(value.abs());
            }
        }
    }
    if largest < beyond {
        return Ok(());
    }
    Err(Error::Format {
        path: from.to_owned(),
        kind: "weights of that type",
        why: format!("`{name}` has values up to {largest:e}, and {dtype:?} ends at {most:e}"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::init;
    use super::*;

    #[test]
    fn a_small_checkpoint_is_told_by_its_names_and_converts_to_shards() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        init(&Config::preset(Preset::Tiny, 1).unwrap(), Precision::F32, &a).unwrap();
        let found = inspect(&a.join("model.safetensors")).unwrap();
        assert_eq!(found.networks[0].name, "ovi_fusion");
        assert_eq!((found.blocks, found.unknown_count), (Some(3), 0));
        // 3 of 30 blocks, all of another width
        assert!(found.networks[0].missing_count > 1000 && found.networks[0].other_shape > 100);
        assert!(found.networks.iter().any(|network| network.name == "ocf"));
        convert(
            &a.join("model.safetensors"),
            &b,
            Some(Precision::Bf16),
            200_000,
            &mut |_| {},
        )
        .unwrap();
        let again = inspect(&b).unwrap();
        assert_eq!(
            (again.tensors, again.parameters),
            (found.tensors, found.parameters)
        );
        assert_eq!(again.bytes * 2, found.bytes);
        assert!(std::fs::read_dir(&b).unwrap().count() > 2);
        // The folder says itself what it should hold.
        let whole = inspect(&a).unwrap();
        assert_eq!(whole.networks.len(), 1);
        let own = &whole.networks[0];
        assert_eq!(
            (own.present, own.other_shape, own.missing_count),
            (whole.tensors, 0, 0)
        );
        let text = inspect(&a.join("text/model.safetensors")).unwrap();
        assert_eq!(text.networks[0].name, "umt5_xxl_encoder");
        assert!(convert(&a, &b, None, 1 << 30, &mut |_| {}).is_err());
    }

    #[test]
    fn eight_bit_values_become_bf16_without_loss() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::create_dir(&from).unwrap();
        let entry = Entry {
            name: "w".to_owned(),
            dtype: DType::F8E4M3,
            shape: vec![6],
        };
        let values = [0.0f32, 1.0, -2.5, 0.015625, 448.0, -0.875];
        write_parts(&from, "x", &[entry], 1 << 20, &mut |entry| {
            Ok(candle_core::Tensor::new(&values, &Device::Cpu)?.to_dtype(entry.dtype)?)
        })
        .unwrap();
        convert(&from, &to, Some(Precision::Bf16), 1 << 20, &mut |_| {}).unwrap();
        assert_eq!(inspect(&to).unwrap().dtypes.keys().collect::<Vec<_>>(), ["bf16"]);
        let weights = Weights::open(&to.join("model.safetensors"), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(
            weights.get("w", &[6]).unwrap().t().to_vec1::<f32>().unwrap(),
            values
        );
    }

    #[test]
    fn values_that_a_type_cannot_hold_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let made = |name: &str, values: &[f32]| {
            let from = folder.path().join(name);
            std::fs::create_dir(&from).unwrap();
            let entry = Entry {
                name: "w".to_owned(),
                dtype: DType::F32,
                shape: vec![values.len()],
            };
            write_parts(&from, "x", &[entry], 1 << 20, &mut |_| {
                Ok(Tensor::new(values, &Device::Cpu)?)
            })
            .unwrap();
            from
        };
        let to = folder.path().join("to");
        let half = |from: &Path| convert(from, &to, Some(Precision::F16), 1 << 20, &mut |_| {});
        let said = half(&made("a", &[1.0, -70_000.0, 65_600.0]))
            .unwrap_err()
            .to_string();
        assert!(said.contains("`w` has values up to 7e4"), "{said}");
        assert!(!to.exists());
        // what rounds to the last value is held, and an infinite value is none that was made so
        half(&made("b", &[65_519.0, f32::INFINITY])).unwrap();
        std::fs::remove_dir_all(&to).unwrap();
        let from = made("c", &[f32::MAX]);
        let said = convert(&from, &to, Some(Precision::Bf16), 1 << 20, &mut |_| {}).unwrap_err();
        assert!(said.to_string().contains("BF16 ends at"), "{said}");
        let large = made("d", &[3.38e38]);
        convert(&large, &to, Some(Precision::Bf16), 1 << 20, &mut |_| {}).unwrap();
    }

    #[test]
    fn what_is_no_network_of_ours_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let entry = Entry {
            name: "layer1.weight".to_owned(),
            dtype: DType::F32,
            shape: vec![2, 2],
        };
        write_parts(folder.path(), "x", &[entry], 1 << 20, &mut |entry| {
            Ok(candle_core::Tensor::zeros(
                entry.shape.as_slice(),
                entry.dtype,
                &Device::Cpu,
            )?)
        })
        .unwrap();
        let found = inspect(folder.path()).unwrap();
        assert!(found.networks.is_empty());
        assert_eq!(
            (found.unknown.as_slice(), found.unknown_count),
            (&["layer1.weight".to_owned()][..], 1)
        );
    }
}
