//! `omni model`: make, look into and convert checkpoints.

use crate::{
    cli::{
        DtypeName, ModelAssembleArgs, ModelCommand, ModelConvertArgs, ModelInitArgs, ModelInspectArgs,
        OriginName, PlacingName, PresetName,
    },
    exit::{Code, missing, usage},
    output, table,
};
use omni_model::{
    checkpoint::{
        Assembly, Config, Inspection, KnownNetwork, Origin, Placing, Preset, Role, assemble, convert, init,
        inspect,
    },
    generate::Precision,
};
use std::{collections::BTreeMap, path::PathBuf};

/// Runs the command.
pub fn run(command: &ModelCommand) -> anyhow::Result<Code> {
    match command {
        ModelCommand::Init(args) => begin(args),
        ModelCommand::Inspect(args) => look(args),
        ModelCommand::Convert(args) => rewrite(args),
        ModelCommand::Assemble(args) => put_together(args),
    }
}

pub(super) fn precision(name: DtypeName) -> Precision {
    match name {
        DtypeName::F32 => Precision::F32,
        DtypeName::Bf16 => Precision::Bf16,
        DtypeName::F16 => Precision::F16,
    }
}

fn preset(name: PresetName) -> Preset {
    match name {
        PresetName::Tiny => Preset::Tiny,
        PresetName::Little => Preset::Little,
        PresetName::Small => Preset::Small,
        PresetName::P720 => Preset::P720,
    }
}

fn begin(args: &ModelInitArgs) -> anyhow::Result<Code> {
    let preset = preset(args.preset);
    let stored = match (args.dtype, preset) {
        (Some(name), _) => precision(name),
        (None, Preset::P720) => Precision::Bf16,
        (None, _) => Precision::F32,
    };
    let config = Config::preset(preset, args.seed)?;
    init(&config, stored, &args.out)?;
    output::line(&format!(
        "{} weights of seed {} in {}, {}; codec {}. They are random: what they sample is noise",
        omni_model::checkpoint::parameters(&config)?,
        args.seed,
        args.out.display(),
        stored.name(),
        config.codec.name(),
    ))?;
    Ok(Code::Done)
}

fn look(args: &ModelInspectArgs) -> anyhow::Result<Code> {
    let found = inspect(&args.file)?;
    if args.json {
        output::line(&serde_json::to_string_pretty(&found)?)?;
    } else {
        show(&found)?;
    }
    Ok(Code::Done)
}

fn show(found: &Inspection) -> anyhow::Result<()> {
    let types: Vec<String> = found
        .dtypes
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    output::line(&format!(
        "{} tensors ({}), {} parameters, {} bytes",
        found.tensors,
        types.join(", "),
        found.parameters,
        found.bytes
    ))?;
    if found.networks.is_empty() {
        output::line("no network that this build knows")?;
    } else {
        let rows: Vec<Vec<String>> = found.networks.iter().map(row).collect();
        output::line(&table::layout(
            &["network", "tensors", "of another shape", "missing"],
            &rows,
        ))?;
    }
    if let Some(blocks) = found.blocks {
        output::line(&format!("the video stream has {blocks} blocks"))?;
    }
    for network in &found.networks {
        list(
            &format!("{} lacks", network.name),
            &network.missing,
            network.missing_count,
        )?;
    }
    list("part of none", &found.unknown, found.unknown_count)
}

fn row(network: &KnownNetwork) -> Vec<String> {
    let numbers = [network.present, network.other_shape, network.missing_count];
    let mut row = vec![network.name.clone()];
    row.extend(numbers.map(|number| number.to_string()));
    row
}

fn list(title: &str, names: &[String], count: usize) -> anyhow::Result<()> {
    for name in names {
        output::line(&format!("{title}: {name}"))?;
    }
    if count > names.len() {
        output::line(&format!("{title}: {} more", count - names.len()))?;
    }
    Ok(())
}

fn rewrite(args: &ModelConvertArgs) -> anyhow::Result<Code> {
    if args.shard_mb == 0 {
        return Err(usage("--shard-mb 0: a file holds at least 1 MB"));
    }
    let mut count = 0usize;
    let most = args.shard_mb.saturating_mul(1_000_000);
    let bytes = convert(
        &args.file,
        &args.out,
        args.dtype.map(precision),
        most,
        &mut |_| count += 1,
    )?;
    output::line(&format!(
        "{count} tensors, {bytes} bytes in {}",
        args.out.display()
    ))?;
    Ok(Code::Done)
}

fn put_together(args: &ModelAssembleArgs) -> anyhow::Result<Code> {
    let preset = preset(args.preset);
    if let Some(folder) = args.pulled.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(missing(format!("--pulled {} is no folder", folder.display())));
    }
    output::note("reading, comparing and hashing every file: minutes for networks of the released size");
    let assembly = Assembly {
        preset,
        files: files(args, preset),
        placing: match args.by {
            PlacingName::Link => Placing::Link,
            PlacingName::Copy => Placing::Copy,
        },
        origin: args.origin.map(|origin| match origin {
            OriginName::Init => Origin::Init,
            OriginName::Trained => Origin::Trained,
            OriginName::Released => Origin::Released,
        }),
    };
    let placed = assemble(&assembly, &args.out)?;
    let rows: Vec<Vec<String>> = placed
        .iter()
        .map(|file| {
            vec![
                file.role.to_owned(),
                file.file.clone(),
                file.how.to_owned(),
                file.mark.bytes.to_string(),
                file.mark.blake3[..12].to_owned(),
                file.published_in.unwrap_or("-").to_owned(),
                file.licence.unwrap_or("-").to_owned(),
            ]
        })
        .collect();
    output::line(&table::layout(
        &[
            "what",
            "file",
            "how",
            "bytes",
            "BLAKE3",
            "published in",
            "licence there",
        ],
        &rows,
    ))?;
    output::note(&format!(
        "{} is a checkpoint for `omni sample`, `omni encode` and `omni train`. Source and licence are those of the published files; \
         that yours are those, their names and shapes cannot tell",
        args.out.display()
    ));
    Ok(Code::Done)
}

/// The file of each role: the one given, or what was pulled.
fn files(args: &ModelAssembleArgs, preset: Preset) -> BTreeMap<Role, PathBuf> {
    let given = |role: Role| match role {
        Role::Backbone => &args.backbone,
        Role::TextEncoder => &args.text_encoder,
        Role::Tokenizer => &args.tokenizer,
        Role::Phonemes => &args.phonemes,
        Role::Vocabulary => &args.vocabulary,
        Role::VideoVae => &args.video_vae,
        Role::AudioVae => &args.audio_vae,
        Role::Vocoder => &args.vocoder,
    };
    let pulled = |role: Role| {
        let folder = args.pulled.as_ref().filter(|_| role.belongs(preset))?;
        let known = role.published();
        Some(folder.join(known.id).join(known.file)).filter(|path| path.is_file())
    };
    let found = |role: Role| Some((role, given(role).clone().or_else(|| pulled(role))?));
    Role::ALL.into_iter().filter_map(found).collect()
}
