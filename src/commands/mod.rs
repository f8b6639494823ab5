//! One file per command, one function each: from what was typed to one library call and its result shown.

mod audit;
mod bench;
mod curate;
mod doctor;
mod explain;
mod export;
mod forget;
mod gc;
mod init;
mod models;
mod people;
mod report;
mod review;
mod schema;
mod services;
mod show;
mod verify;

use crate::{
    cli::{Arguments, Command, NetworkArgs},
    config::Config,
    exit::{Code, usage},
    output,
};
use clap::CommandFactory;
use omni_curate::{
    kit::{Kit, KitSettings},
    recipe::{BUILT_IN, nearest},
};
use omni_perception::{
    registry::{Registry, Store},
    runtime::Device,
};
use std::path::PathBuf;

/// Runs a command.
pub fn run(command: Command) -> anyhow::Result<Code> {
    match command {
        Command::Audit(args) => audit::run(&args),
        Command::Curate(args) => curate::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Review(args) => review::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Select(args) => people::select(&args),
        Command::Pool(args) => people::pool(&args),
        Command::Forget(args) => forget::run(&args),
        Command::Gc(args) => gc::run(&args),
        Command::Models(command) => models::run(command),
        Command::Init(args) => init::run(&args),
        Command::Recipe(args) => recipe(args.name.as_deref()),
        Command::Bench(command) => bench::run(&command),
        Command::Schema { record } => schema::run(&record),
        Command::Verify(args) => verify::run(&args),
        Command::Doctor => doctor::run(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "omni", &mut script);
            output::line(String::from_utf8_lossy(&script).trim_end())?;
            Ok(Code::Done)
        }
    }
}

fn recipe(name: Option<&str>) -> anyhow::Result<Code> {
    match name {
        None => BUILT_IN.iter().try_for_each(|(name, _)| output::line(name))?,
        Some(name) => {
            omni_curate::recipe::Recipe::built_in(name, &[])?;
            let text = BUILT_IN
                .iter()
                .find(|(known, _)| *known == name)
                .map_or("", |(_, text)| text);
            output::line(text.trim_end())?;
        }
    }
    Ok(Code::Done)
}

/// The output folder: the flag, or `omni.toml`.
fn out_dir(flag: Option<&std::path::Path>, config: &Config, name: &str) -> anyhow::Result<PathBuf> {
    flag.map(std::path::Path::to_owned)
        .or_else(|| config.out.clone())
        .ok_or_else(|| {
            usage(format!(
                "no output folder: give {name}, or `out` in omni.toml (`omni init` writes one)"
            ))
        })
}

/// Which networks a command uses, and where they run.
struct Chosen {
    registry: Registry,
    store: Store,
    profile: String,
    device: Device,
    library: PathBuf,
}

/// Flags before omni.toml before the defaults.
fn chosen(args: &NetworkArgs, config: &Config) -> anyhow::Result<Chosen> {
    let registry = Registry::builtin();
    let store = Store::new(config.store_dir()?);
    let profile = args
        .profile
        .clone()
        .or_else(|| config.profile.clone())
        .unwrap_or_else(|| "open".into());
    registry.profile(&profile)?;
    let device = args
        .device
        .as_deref()
        .or(config.device.as_deref())
        .unwrap_or("cpu");
    let device: Device = device
        .parse()
        .map_err(|error| usage(format!("--device {device}: {error}")))?;
    let library = onnxruntime(config, &registry, &store, &device)?;
    Ok(Chosen {
        registry,
        store,
        profile,
        device,
        library,
    })
}

/// The networks of the profile; opens none of them.
fn kit(args: &NetworkArgs, config: &Config) -> anyhow::Result<Kit> {
    let Chosen {
        registry,
        store,
        profile,
        device,
        library,
    } = chosen(args, config)?;
    Ok(Kit::new(KitSettings {
        registry,
        store,
        profile,
        device,
        library,
    }))
}

/// The usage error of a record that does not exist.
fn no_record(name: &str) -> anyhow::Error {
    let known: Vec<&str> = omni_schemas::ALL.iter().map(|(name, ..)| *name).collect();
    let hint = nearest(name, known.iter().copied());
    let hint = hint
        .map(|name| format!(" (did you mean `{name}`?)"))
        .unwrap_or_default();
    usage(format!(
        "no record `{name}`{hint}; there are: {}",
        known.join(", ")
    ))
}

/// ONNX Runtime's library: the setting, `ORT_DYLIB_PATH`, or the store's own. Not opened, and not required to exist
/// before a network is loaded.
fn onnxruntime(
    config: &Config,
    registry: &Registry,
    store: &Store,
    device: &Device,
) -> anyhow::Result<PathBuf> {
    if let Some(path) = &config.onnxruntime {
        return Ok(path.clone());
    }
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let spec = registry.spec(if *device == Device::Cpu {
        "onnxruntime"
    } else {
        "onnxruntime-gpu"
    })?;
    let name = spec
        .files
        .first()
        .map_or("libonnxruntime.so", |file| file.name.as_str());
    Ok(store.dir(spec).join(name))
}
