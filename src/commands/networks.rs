//! Which networks a command uses, and where they run: flags before omni.toml before the defaults.

use crate::{cli::NetworkArgs, config::Config, exit::usage};
#[cfg(feature = "curate")]
use omni_curate::kit::{Kit, KitSettings};
use omni_perception::{
    registry::{Registry, Store},
    runtime::Device,
};
use std::path::PathBuf;

/// Which networks a command uses, and where they run.
pub struct Chosen {
    pub registry: Registry,
    pub store: Store,
    pub profile: String,
    pub device: Device,
    pub library: PathBuf,
}

/// Flags before omni.toml before the defaults.
pub fn chosen(args: &NetworkArgs, config: &Config) -> anyhow::Result<Chosen> {
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
#[cfg(feature = "curate")]
pub fn kit(args: &NetworkArgs, config: &Config) -> anyhow::Result<Kit> {
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

/// ONNX Runtime's library: the setting, `ORT_DYLIB_PATH`, or the store's own. Not opened, and not required to exist
/// before a network is loaded.
pub fn onnxruntime(
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
