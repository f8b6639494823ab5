//! A checkpoint's folder put together from files as they were published or pulled. Each is held against the names and shapes of
//! its network before anything is written; what is large is linked or copied, not read into memory.

use super::{CONFIG, Config, FileMark, Origin, Preset, Published, Role, init::seal_but, into_new_folder};
use crate::{
    Error, Result,
    codec::CodecKind,
    net::{
        F5Text, F5TextConfig, FusionModel, MtpCa, Ocf, Umt5, Umt5Config,
        umt5::Naming,
        vae_audio::{AudioVae, AudioVaeConfig},
        vae_video::{VideoVae, VideoVaeConfig},
        vocoder::{Vocoder, VocoderConfig},
    },
    text::{Tokenizer, Vocabulary},
    weights::{Entry, Found, Mismatch, Weights, WrongShape, is_torch, open_source, write_parts},
};
use candle_core::Device;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Where the text embedding lies in a whole checkpoint of F5-TTS.
const F5_PREFIX: &str = "ema_model.transformer.text_embed.";
/// What a folder was put together from, in it.
const SOURCES: &str = "sources.json";

/// How files come into the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placing {
    /// By a hard link: no room, and the same file under two names.
    Link,
    /// By a copy.
    Copy,
}

/// What is put together.
#[derive(Debug, Clone)]
pub struct Assembly {
    /// The sizes of the networks.
    pub preset: Preset,
    /// A file for every role that belongs to them.
    pub files: BTreeMap<Role, PathBuf>,
    /// How they come into the folder.
    pub placing: Placing,
    /// Where the backbone's weights come from; `None` to take it from the `config.toml` beside it, or to see in it that it is a plain
    /// Ovi checkpoint.
    pub origin: Option<Origin>,
}

/// A file of an assembled checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Placed {
    /// What it is.
    pub role: &'static str,
    /// Where it was.
    pub from: PathBuf,
    /// Its name in the folder.
    pub file: String,
    /// How it came there: `linked`, `copied`, or `taken out` of a larger file.
    pub how: &'static str,
    /// What is there.
    #[serde(flatten)]
    pub mark: FileMark,
    /// Where such files are published; `None` for what is no published network. What the file really is, nothing here can tell:
    /// its names and shapes are the network's.
    pub published_in: Option<&'static str>,
    /// Licence of the published weights.
    pub licence: Option<&'static str>,
}

/// Puts a checkpoint together in `folder`, which appears when all is well; gives what is in it.
///
/// Fails with [`Error::Input`] where files are missing or do not belong to the preset, with [`Error::Weights`] where names or
/// shapes are not the network's (all of them listed, nearest names suggested), and where the folder is there, cannot be written, or a
/// link cannot be made.
pub fn assemble(assembly: &Assembly, folder: &Path) -> Result<Vec<Placed>> {
    complete(assembly)?;
    let mut config = sizes_of(assembly)?;
    check_all(assembly, &config)?;
    tell_origin(assembly, &mut config)?;
    let mut placed = Vec::new();
    into_new_folder(folder, |place| {
        placed = fill(assembly, &config, place)?;
        let known: BTreeMap<String, FileMark> = placed
            .iter()
            .map(|file| (file.file.clone(), file.mark.clone()))
            .collect();
        let text = serde_json::to_string_pretty(&placed).map_err(|error| Error::Config(error.to_string()))?;
        write(&place.join(SOURCES), text.as_bytes())?;
        write(&place.join(CONFIG), config.to_toml()?.as_bytes())?;
        seal_but(place, &known)
    })?;
    Ok(placed)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

/// Every role has its file, and no other.
fn complete(assembly: &Assembly) -> Result<()> {
    let preset = assembly.preset;
    let lacks: Vec<String> = Role::ALL
        .into_iter()
        .filter(|role| role.belongs(preset) && !assembly.files.contains_key(role))
        .map(|role| {
            let known = role.published();
            format!(
                "--{} ({} of `omni models pull {}`)",
                role.name(),
                known.file,
                known.id
            )
        })
        .collect();
    if !lacks.is_empty() {
        return Err(Error::Input(format!(
            "a checkpoint of preset {} also needs {}",
            preset.name(),
            lacks.join(", ")
        )));
    }
    let stray = assembly.files.keys().find(|role| !role.belongs(preset));
    match stray {
        Some(role) => Err(Error::Input(format!(
            "--{}: preset {} has the stand-in codec `linear`, which has no weights",
            role.name(),
            preset.name()
        ))),
        None => Ok(()),
    }
}

/// The file of a role; [`complete`] has seen that it is there.
fn file(assembly: &Assembly, role: Role) -> Result<&Path> {
    let found = assembly.files.get(&role).map(PathBuf::as_path);
    found.ok_or_else(|| Error::Input(format!("no --{}", role.name())))
}

/// The networks that the files ask for.
fn sizes_of(assembly: &Assembly) -> Result<Config> {
    let mut config = Config::preset(assembly.preset, 0)?;
    config.seed = None;
    if assembly.preset == Preset::P720 {
        config.codec = CodecKind::Released;
        config.text = Umt5Config::xxl();
        config.speech = Some(F5TextConfig::v1());
    }
    let names = open_source(file(assembly, Role::Backbone)?)?.names();
    // a plain Ovi checkpoint has neither, and `omni train` adds them
    if !names.iter().any(|name| name.starts_with("ocf.")) {
        config.ocf = None;
    }
    if !names.iter().any(|name| name.starts_with("mtp_ca.")) {
        config.mtp_ca = None;
    }
    Ok(config)
}

/// Where the backbone's weights come from, and what else of it tensors cannot tell. Fails where nothing says it.
fn tell_origin(assembly: &Assembly, config: &mut Config) -> Result<()> {
    let path = file(assembly, Role::Backbone)?;
    let plain = assembly.preset == Preset::P720 && config.ocf.is_none() && config.mtp_ca.is_none();
    let known = beside(path)?;
    config.origin = match (assembly.origin, &known) {
        (Some(origin), _) => origin,
        (None, Some(known)) => known.origin,
        (None, None) if plain => Origin::Released,
        (None, None) => {
            return Err(Error::Input(format!(
                "no config.toml lies beside --backbone {}: say where its weights come from, --origin init, trained or released",
                path.display()
            )));
        }
    };
    if let Some(known) = known {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // a damaged file would be given a new mark
        if let Some(mark) = known.files.get(&*name) {
            mark.check(path)?;
        }
        take_over(config, &known);
    }
    config.check()
}

/// The configuration in a file's folder, if it is a checkpoint's.
fn beside(path: &Path) -> Result<Option<Config>> {
    let config = path.with_file_name(CONFIG);
    match config.is_file() {
        true => Config::read(&config).map(Some),
        false => Ok(None),
    }
}

/// What of a backbone its tensors cannot tell.
fn take_over(config: &mut Config, known: &Config) {
    config.anchored = known.anchored;
    if config.origin == Origin::Init {
        config.seed = known.seed;
    }
    if let (Some(own), Some(known)) = (&mut config.mtp_ca, &known.mtp_ca) {
        own.masked = known.masked;
    }
}

/// Where the published file of a role is, and its licence, where the checkpoint has published networks.
fn source_of(role: Role, config: &Config) -> Option<Published> {
    let published = config.codec == CodecKind::Released;
    let trained = role == Role::Backbone && config.origin != Origin::Released;
    (published && !trained).then(|| role.published())
}

/// Holds every file against its network.
fn check_all(assembly: &Assembly, config: &Config) -> Result<()> {
    for role in Role::ALL.into_iter().filter(|role| role.belongs(assembly.preset)) {
        let path = file(assembly, role)?;
        match role {
            Role::Tokenizer => tokenizer(path, config)?,
            Role::Vocabulary => vocabulary(path, config)?,
            _ => {
                let source = open_source(path)?;
                check(role, config, &source.label(), &source.entries())?;
            }
        }
    }
    let backbone = file(assembly, Role::Backbone)?;
    match is_torch(backbone)? {
        false => Ok(()),
        true => Err(Error::Input(format!(
            "--backbone {}: it is read by memory map, so it has to be safetensors; `omni model convert` makes that of it",
            backbone.display()
        ))),
    }
}

/// Names and shapes of a role's network.
fn table(role: Role, config: &Config) -> Result<BTreeMap<String, Vec<usize>>> {
    let weights = Weights::shapes_only();
    match role {
        Role::Backbone => {
            FusionModel::new(&config.backbone, &weights)?;
            if let Some(ocf) = &config.ocf {
                Ocf::new(ocf, &weights.pp("ocf"))?;
            }
            if let Some(mtp_ca) = &config.mtp_ca {
                MtpCa::new(mtp_ca, &weights.pp("mtp_ca"))?;
            }
        }
        Role::TextEncoder => drop(Umt5::new(&config.text, Naming::Wan, &weights)?),
        Role::Phonemes => {
            let place = weights.pp(F5_PREFIX.trim_end_matches('.'));
            let speech = config.speech.clone().unwrap_or_else(F5TextConfig::v1);
            F5Text::new(&speech, &place)?;
        }
        Role::VideoVae => drop(VideoVae::new(&VideoVaeConfig::wan22(), &weights)?),
        Role::AudioVae => drop(AudioVae::new(&AudioVaeConfig::mmaudio_16k(), &weights)?),
        Role::Vocoder => drop(Vocoder::new(&VocoderConfig::mmaudio_16k(), &weights)?),
        Role::Tokenizer | Role::Vocabulary => {}
    }
    Ok(weights.asked().into_iter().collect())
}

/// Fails unless `entries` are the tensors of a role's network, no more and no fewer; of F5-TTS those of its text embedding.
fn check(role: Role, config: &Config, label: &str, entries: &[Entry]) -> Result<()> {
    let table = table(role, config)?;
    let part = |name: &str| role != Role::Phonemes || name.starts_with(F5_PREFIX);
    let held: BTreeMap<&str, &[usize]> = entries
        .iter()
        .filter(|entry| part(&entry.name))
        .map(|entry| (entry.name.as_str(), entry.shape.as_slice()))
        .collect();
    let mut mismatch = Mismatch {
        source: format!("--{} {label}", role.name()),
        missing: Vec::new(),
        wrong: Vec::new(),
        extra: held
            .keys()
            .filter(|name| !table.contains_key(**name))
            .map(|name| (*name).to_owned())
            .collect(),
    };
    for (name, needed) in table {
        match held.get(name.as_str()) {
            None => mismatch.missing.push(name),
            Some(found) if *found != needed.as_slice() => mismatch.wrong.push(WrongShape {
                name,
                found: found.to_vec(),
                needed,
            }),
            Some(_) => {}
        }
    }
    if mismatch.missing.is_empty() && mismatch.wrong.is_empty() && mismatch.extra.is_empty() {
        Ok(())
    } else {
        Err(mismatch.into())
    }
}

fn tokenizer(path: &Path, config: &Config) -> Result<()> {
    let size = Tokenizer::open(path)?.size();
    match size <= config.text.vocab {
        true => Ok(()),
        false => Err(Error::Input(format!(
            "--tokenizer {}: {size} tokens, and the text encoder has {}",
            path.display(),
            config.text.vocab
        ))),
    }
}

fn vocabulary(path: &Path, config: &Config) -> Result<()> {
    Vocabulary::open(path)?;
    let text = fs::read_to_string(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    let size = text.lines().count();
    let room = config.speech.as_ref().map_or(0, |speech| speech.text_num_embeds);
    match size == room {
        true => Ok(()),
        false => Err(Error::Input(format!(
            "--vocabulary {}: {size} tokens, and the phoneme encoder has {room}",
            path.display()
        ))),
    }
}

/// Name of a role's file in a checkpoint, by what it is.
fn name_of(role: Role, safetensors: bool) -> &'static str {
    match (role, safetensors) {
        (Role::Backbone, _) => "model.safetensors",
        (Role::TextEncoder, true) => "text/model.safetensors",
        (Role::TextEncoder, false) => "text/models_t5_umt5-xxl-enc-bf16.pth",
        (Role::Tokenizer, _) => "text/tokenizer.json",
        (Role::Phonemes, _) => "speech/model.safetensors",
        (Role::Vocabulary, _) => "speech/vocab.txt",
        (Role::VideoVae, true) => "codec/Wan2.2_VAE.safetensors",
        (Role::VideoVae, false) => "codec/Wan2.2_VAE.pth",
        (Role::AudioVae, true) => "codec/v1-16.safetensors",
        (Role::AudioVae, false) => "codec/v1-16.pth",
        (Role::Vocoder, true) => "codec/best_netG.safetensors",
        (Role::Vocoder, false) => "codec/best_netG.pt",
    }
}

/// Brings every file to its place.
fn fill(assembly: &Assembly, config: &Config, place: &Path) -> Result<Vec<Placed>> {
    let mut placed = Vec::new();
    for role in Role::ALL.into_iter().filter(|role| role.belongs(assembly.preset)) {
        let from = file(assembly, role)?;
        let text = matches!(role, Role::Tokenizer | Role::Vocabulary);
        let name = name_of(role, text || !is_torch(from)?);
        let to = place.join(name);
        if let Some(above) = to.parent() {
            fs::create_dir_all(above).map_err(|source| Error::Io {
                path: above.to_owned(),
                source,
            })?;
        }
        let how = match role {
            Role::Phonemes => take_out(config, from, &to)?,
            _ => bring(from, &to, assembly.placing)?,
        };
        let known = source_of(role, config);
        placed.push(Placed {
            role: role.name(),
            from: from.to_owned(),
            file: name.to_owned(),
            how,
            mark: FileMark::of(&to)?,
            published_in: known.map(|known| known.repository),
            licence: known.map(|known| known.licence),
        });
    }
    Ok(placed)
}

fn bring(from: &Path, to: &Path, placing: Placing) -> Result<&'static str> {
    let io = |source| Error::Io {
        path: from.to_owned(),
        source,
    };
    // a link to a symbolic link would move with it
    let real = from.canonicalize().map_err(io)?;
    match placing {
        Placing::Link => match fs::hard_link(&real, to) {
            Ok(()) => Ok("linked"),
            Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => Err(Error::Input(format!(
                "{} lies on another disk, where a link cannot lead: --by copy",
                from.display()
            ))),
            Err(source) => Err(Error::Io {
                path: to.to_owned(),
                source,
            }),
        },
        Placing::Copy => fs::copy(&real, to).map(|_| "copied").map_err(|source| Error::Io {
            path: to.to_owned(),
            source,
        }),
    }
}

/// The text embedding of F5-TTS alone, in the names of the encoder.
fn take_out(config: &Config, from: &Path, to: &Path) -> Result<&'static str> {
    let source = open_source(from)?;
    let table = table(Role::Phonemes, config)?;
    let held = source
        .entries()
        .into_iter()
        .filter(|entry| table.contains_key(&entry.name));
    let entries: Vec<Entry> = held
        .map(|entry| Entry {
            name: entry.name[F5_PREFIX.len()..].to_owned(),
            ..entry
        })
        .collect();
    let folder = to.parent().unwrap_or(to);
    write_parts(folder, "model", &entries, u64::MAX, &mut |entry| {
        let full = format!("{F5_PREFIX}{}", entry.name);
        match source.load(&full, &entry.shape, &Device::Cpu)? {
            Found::Tensor(tensor) => Ok(tensor),
            Found::Absent | Found::ShapeOnly => Err(Error::Config(format!("no values for `{full}`"))),
        }
    })?;
    Ok("taken out")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::tables::released;
    use candle_core::DType;

    fn entries(table: &BTreeMap<String, Vec<usize>>) -> Vec<Entry> {
        let entry = |(name, shape): (&String, &Vec<usize>)| Entry {
            name: name.clone(),
            dtype: DType::BF16,
            shape: shape.clone(),
        };
        table.iter().map(entry).collect()
    }

    fn full_size() -> Config {
        Config {
            ocf: None,
            mtp_ca: None,
            text: Umt5Config::xxl(),
            speech: Some(F5TextConfig::v1()),
            ..Config::preset(Preset::P720, 0).unwrap()
        }
    }

    const TABLES: [(Role, &str); 6] = [
        (Role::Backbone, "ovi_fusion"),
        (Role::TextEncoder, "umt5_xxl_encoder"),
        (Role::Phonemes, "f5_text_embed"),
        (Role::VideoVae, "wan22_vae"),
        (Role::AudioVae, "mmaudio_vae_16k"),
        (Role::Vocoder, "bigvgan_16k"),
    ];

    #[test]
    fn only_a_published_network_is_said_to_be_one() {
        let mut config = full_size();
        (config.codec, config.origin) = (CodecKind::Released, Origin::Released);
        let licence = |role, config: &Config| source_of(role, config).map(|known| known.licence);
        assert_eq!(licence(Role::Backbone, &config), Some("Apache-2.0"));
        assert_eq!(licence(Role::Vocoder, &config), Some("CC-BY-NC-4.0"));
        config.origin = Origin::Trained;
        assert_eq!(licence(Role::Backbone, &config), None);
        assert_eq!(licence(Role::Vocoder, &config), Some("CC-BY-NC-4.0"));
        let small = Config::preset(Preset::Tiny, 0).unwrap();
        assert!(Role::ALL.iter().all(|role| licence(*role, &small).is_none()));
    }

    #[test]
    fn what_tensors_cannot_tell_comes_from_beside_the_backbone() {
        let mut known = Config::preset(Preset::Tiny, 7).unwrap();
        known.anchored = false;
        known.mtp_ca.as_mut().unwrap().masked = false;
        let mut config = Config::preset(Preset::Tiny, 0).unwrap();
        take_over(&mut config, &known);
        assert!(!config.anchored && !config.mtp_ca.unwrap().masked && config.seed == Some(7));
        let mut trained = Config::preset(Preset::Tiny, 0).unwrap();
        (trained.origin, trained.seed) = (Origin::Trained, None);
        take_over(&mut trained, &known);
        assert_eq!(trained.seed, None, "trained weights are of no seed");
    }

    #[test]
    fn the_published_tables_fit_and_nothing_else_does() {
        let config = full_size();
        for (role, name) in TABLES {
            let table = released(name).unwrap().unwrap();
            let whole = entries(&table);
            check(role, &config, "`file`", &whole).unwrap();
            let said = |entries: &[Entry]| check(role, &config, "`file`", entries).unwrap_err().to_string();
            // one less, one renamed, one of another shape
            let lacks = said(&whole[1..]);
            assert!(
                lacks.contains("missing (1)") && lacks.contains(&whole[0].name),
                "{lacks}"
            );
            let mut other = whole.clone();
            let last = other.len() - 1;
            other[last].name += "s";
            let renamed = said(&other);
            assert!(
                renamed.contains(&format!("(the file has `{}s`)", whole[last].name)),
                "{name}: {renamed}"
            );
            let mut other = whole.clone();
            other[0].shape.push(2);
            assert!(said(&other).contains("wrong shape (1)"));
            assert!(said(&[]).contains("missing"));
        }
        // the file of another role
        let video = entries(&released("wan22_vae").unwrap().unwrap());
        let said = check(Role::AudioVae, &config, "`file`", &video)
            .unwrap_err()
            .to_string();
        assert!(said.contains("--audio-vae `file` does not fit"), "{said}");
    }

    #[test]
    fn the_rest_of_f5_is_passed_over_and_a_strange_part_of_its_embedding_is_not() {
        let config = full_size();
        let mut whole = entries(&released("f5_text_embed").unwrap().unwrap());
        let more = |name: &str| Entry {
            name: name.to_owned(),
            dtype: DType::F32,
            shape: vec![3],
        };
        whole.push(more("ema_model.transformer.transformer_blocks.0.attn.to_q.bias"));
        check(Role::Phonemes, &config, "`f5`", &whole).unwrap();
        whole.push(more("ema_model.transformer.text_embed.strange"));
        let said = check(Role::Phonemes, &config, "`f5`", &whole)
            .unwrap_err()
            .to_string();
        assert!(said.contains("text_embed.strange"), "{said}");
    }

    #[test]
    fn what_is_missing_is_told_with_where_it_comes_from() {
        let assembly = |preset, roles: &[Role]| Assembly {
            preset,
            files: roles.iter().map(|role| (*role, PathBuf::from("x"))).collect(),
            placing: Placing::Link,
            origin: None,
        };
        let said = complete(&assembly(Preset::P720, &[Role::Backbone]))
            .unwrap_err()
            .to_string();
        for role in &Role::ALL[1..] {
            assert!(said.contains(&format!("--{}", role.name())), "{said}");
            assert!(said.contains(role.published().id), "{said}");
        }
        let five = assembly(Preset::Tiny, &Role::ALL[..5]);
        complete(&five).unwrap();
        let said = complete(&assembly(Preset::Tiny, &Role::ALL))
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("--video-vae") && said.contains("stand-in codec"),
            "{said}"
        );
    }
}
