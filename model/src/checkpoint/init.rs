//! A checkpoint of random weights, written whole or not at all.

use super::{CONFIG, Config, FileMark, Network, into_new_folder};
use crate::{
    Error, Result,
    generate::Precision,
    net::{F5Text, Umt5, umt5::Naming},
    text::{stand_in_tokenizer, stand_in_vocabulary},
    weights::{Entry, Found, Init, Source, Weights, write_parts},
};
use candle_core::{DType, Device};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The folder of VAEs and vocoder.
const CODEC: &str = "codec";
/// Most bytes of a file of weights.
const SHARD: u64 = 5 << 30;

/// Makes the checkpoint of `config` in `folder`, weights of the backbone in `precision`. Equal configurations give equal bytes.
///
/// The folder appears when all of it is written. Fails if something of its name is there, or it cannot be written.
pub fn init(config: &Config, precision: Precision, folder: &Path) -> Result<()> {
    config.check()?;
    let dtype = precision.dtype();
    let seed = config.seed.unwrap_or(0);
    into_new_folder(folder, |place| {
        let text = |weights: &Weights| Umt5::new(&config.text, Naming::Wan, weights).map(drop);
        write(place, dtype, seed, |weights| {
            Network::new(config, weights).map(drop)
        })?;
        let below = below(place, "text")?;
        write(&below, DType::F32, seed, text)?;
        put(&below.join("tokenizer.json"), stand_in_tokenizer().as_bytes())?;
        if let Some(speech) = &config.speech {
            let below = self::below(place, "speech")?;
            write(&below, DType::F32, seed, |weights| {
                F5Text::new(speech, weights).map(drop)
            })?;
            put(&below.join("vocab.txt"), stand_in_vocabulary().as_bytes())?;
        }
        put(&place.join(CONFIG), config.to_toml()?.as_bytes())?;
        seal(place)
    })
}

fn below(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    std::fs::create_dir_all(&path).map_err(|source| Error::Io {
        path: path.clone(),
        source,
    })?;
    Ok(path)
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

/// Writes fresh weights of whatever `build` asks for.
fn write(folder: &Path, dtype: DType, seed: u64, build: impl FnOnce(&Weights) -> Result<()>) -> Result<()> {
    let shapes = Weights::shapes_only();
    build(&shapes)?;
    let entry = |(name, shape): (String, Vec<usize>)| Entry { name, dtype, shape };
    let entries: Vec<Entry> = shapes.asked().into_iter().map(entry).collect();
    let fresh = Init { seed };
    write_parts(folder, "model", &entries, SHARD, &mut |entry| match fresh.load(
        &entry.name,
        &entry.shape,
        &Device::Cpu,
    )? {
        Found::Tensor(tensor) => Ok(tensor.to_dtype(dtype)?),
        Found::Absent | Found::ShapeOnly => Err(Error::Config(format!("no values for `{}`", entry.name))),
    })?;
    Ok(())
}

/// Writes the mark of every file of a checkpoint into its `config.toml`, so that a change of any byte is noticed when it is
/// opened. For whoever writes a checkpoint, as the last step.
pub fn seal(folder: &Path) -> Result<()> {
    seal_but(folder, &BTreeMap::new())
}

/// The same without reading files whose mark is in `known` and whose length is the mark's: those that were shared with a
/// checkpoint that was checked.
pub fn seal_but(folder: &Path, known: &BTreeMap<String, FileMark>) -> Result<()> {
    let path = folder.join(CONFIG);
    let mut config = Config::read(&path)?;
    config.files.clear();
    for part in ["", "text", "speech", CODEC] {
        let below = folder.join(part);
        let Ok(entries) = std::fs::read_dir(&below) else {
            continue;
        };
        for entry in entries.flatten().filter(|entry| entry.path().is_file()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == CONFIG || name.starts_with('.') {
                continue;
            }
            let name = if part.is_empty() {
                name
            } else {
                format!("{part}/{name}")
            };
            let length = entry.metadata().ok().map(|data| data.len());
            let mark = known.get(&name).filter(|mark| Some(mark.bytes) == length);
            if part == CODEC && mark.is_none() {
                continue; // put there by hand: gigabytes that nobody vouched for are not read with every state of a run
            }
            let mark = mark.map_or_else(|| FileMark::of(&entry.path()), |mark| Ok(mark.clone()))?;
            config.files.insert(name, mark);
        }
    }
    put(&path, config.to_toml()?.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::{Checkpoint, Preset};
    use super::*;

    #[test]
    fn a_fresh_checkpoint_opens_strictly_and_comes_again_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let config = Config::preset(Preset::Tiny, 3).unwrap();
        init(&config, Precision::F32, &a).unwrap();
        init(&config, Precision::F32, &b).unwrap();
        let bytes = |path: &Path| std::fs::read(path.join("model.safetensors")).unwrap();
        assert!(bytes(&a) == bytes(&b));
        let checkpoint = Checkpoint::open(&a).unwrap();
        let network = checkpoint.network(DType::F32, &Device::Cpu).unwrap();
        assert!(network.ocf.is_some() && network.mtp_ca.is_some());
        let text = checkpoint
            .text(&Device::Cpu)
            .unwrap()
            .encode("A man says hello.")
            .unwrap();
        assert_eq!(text.rows.dims(), [text.tokens.len(), 96]);
        let speech = checkpoint.speech(&Device::Cpu).unwrap().unwrap();
        let tokens = speech.vocabulary.tokens("hello");
        assert_eq!(speech.encoder.forward(&tokens, 5).unwrap().dims(), [5, 32]);
        // what is there is never written over
        assert!(init(&config, Precision::F32, &a).is_err());
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 2);
    }

    #[test]
    fn a_flipped_bit_and_a_cut_file_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("c");
        init(&Config::preset(Preset::Tiny, 3).unwrap(), Precision::F32, &place).unwrap();
        let path = place.join("model.safetensors");
        let sound = std::fs::read(&path).unwrap();
        let mut flipped = sound.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        let said = Checkpoint::open(&place).unwrap_err().to_string();
        assert!(
            said.contains("model.safetensors") && said.contains("BLAKE3"),
            "{said}"
        );
        std::fs::write(&path, &sound[..sound.len() - 10]).unwrap();
        let said = Checkpoint::open(&place).unwrap_err().to_string();
        assert!(said.contains("bytes, it was written with"), "{said}");
        std::fs::write(&path, sound).unwrap();
        assert!(Checkpoint::open(&place).is_ok());
    }

    #[test]
    fn a_known_mark_is_taken_without_reading_unless_the_length_differs() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("a");
        init(&Config::preset(Preset::Tiny, 3).unwrap(), Precision::F32, &place).unwrap();
        let mut known = Config::read(&place.join(CONFIG)).unwrap().files;
        let (same, short) = ("model.safetensors", "text/tokenizer.json");
        known.retain(|name, _| name == same || name == short);
        known
            .values_mut()
            .for_each(|mark| mark.blake3 = "told".to_owned());
        known.get_mut(short).unwrap().bytes -= 1;
        seal_but(&place, &known).unwrap();
        let marks = Config::read(&place.join(CONFIG)).unwrap().files;
        assert!(marks[same].blake3 == "told" && marks[short].blake3 != "told");
    }
}
