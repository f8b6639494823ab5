//! The user's own folder (`--from DIR`): loose files, or the packages that hold them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::archive::{self, Place};
use super::problem::{PullError, remedy_alone};
use super::spec::{FileSpec, Source};

/// Puts the file of `place` in place from `folder`, and returns its SHA-256.
///
/// Loose files go first, then packages of the listed name and version; the first whose bytes are
/// the listed ones is taken. [`PullError::Absent`] when nothing has a fitting name.
pub(super) fn take(place: &Place<'_>, folder: &Path) -> Result<String, PullError> {
    let mut wrong = None;
    for path in loose(place.file, folder) {
        match fits(put_loose(&path, place), &mut wrong)? {
            Some(hash) => return Ok(hash),
            None => continue,
        }
    }
    for path in packages(&place.spec.source, folder)? {
        if let Some(hash) = fits(archive::extract(&path, place), &mut wrong)? {
            return Ok(hash);
        }
    }
    Err(wrong.unwrap_or_else(|| PullError::Absent {
        id: place.spec.id.clone(),
        message: format!("{} holds no `{}`", folder.display(), place.file.name),
        remedy: remedy_alone(place.spec),
    }))
}

/// The hash, or `None` for a file that is not the listed one: the first such fault is kept.
fn fits(
    taken: Result<String, PullError>,
    wrong: &mut Option<PullError>,
) -> Result<Option<String>, PullError> {
    match taken {
        Err(error @ (PullError::WrongFile { .. } | PullError::Archive { .. })) => {
            wrong.get_or_insert(error);
            Ok(None)
        }
        taken => taken.map(Some),
    }
}

fn put_loose(path: &Path, place: &Place<'_>) -> Result<String, PullError> {
    let mut file = File::open(path).map_err(PullError::io(path))?;
    archive::put(&mut file, &path.display().to_string(), place)
}

/// Files of the final name, of the path inside the package, or of that path's last part.
fn loose(file: &FileSpec, folder: &Path) -> Vec<PathBuf> {
    let last = Path::new(file.member()).file_name().unwrap_or_default();
    let mut paths = vec![
        folder.join(&file.name),
        folder.join(file.member()),
        folder.join(last),
    ];
    paths.dedup();
    paths.retain(|path| path.is_file());
    paths
}

/// Files of the folder that are named as the listed package is, in order of their names.
fn packages(source: &Source, folder: &Path) -> Result<Vec<PathBuf>, PullError> {
    let entries = fs::read_dir(folder).map_err(PullError::io(folder))?;
    let named = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        is_package(source, name) && path.is_file()
    };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(named)
        .collect();
    paths.sort();
    Ok(paths)
}

/// Whether a file name is that of the listed package: a wheel or source archive for pip, what
/// `npm pack` or the registry calls the tarball for npm.
fn is_package(source: &Source, name: &str) -> bool {
    match source {
        Source::Pip { package, version, .. } => {
            let (found, rest) = match name.strip_suffix(".whl") {
                Some(stem) => stem.split_once('-').unwrap_or_default(),
                None => stem(name, &[".tar.gz", ".zip"])
                    .and_then(|stem| stem.rsplit_once('-'))
                    .unwrap_or_default(),
            };
            let found_version = rest.split('-').next().unwrap_or_default();
            folded(found) == folded(package) && found_version == version
        }
        Source::Npm { package, version, .. } => {
            let flat = npm_file(package);
            let last = package.rsplit('/').next().unwrap_or(package);
            stem(name, &[".tgz", ".tar.gz"]).is_some_and(|stem| {
                [flat.as_str(), last]
                    .iter()
                    .any(|name| stem == format!("{name}-{version}"))
            })
        }
        Source::Hf { .. } | Source::Url { .. } | Source::File { .. } => false,
    }
}

fn stem<'a>(name: &'a str, ends: &[&str]) -> Option<&'a str> {
    ends.iter().find_map(|end| name.strip_suffix(end))
}

/// A Python package's name as the index compares it: lower case, runs of `-_.` as one `-`.
fn folded(name: &str) -> String {
    let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

/// `@scope/name` as `npm pack` writes it in a file name.
fn npm_file(package: &str) -> String {
    package.trim_start_matches('@').replace('/', "-")
}

/// The package file that holds an entry's files, as people would look for it; `None` for loose files.
pub(super) fn package_file(source: &Source) -> Option<String> {
    match source {
        Source::Pip {
            package,
            version,
            no_binary: true,
            ..
        } => Some(format!("{package}-{version}.tar.gz")),
        Source::Pip {
            package,
            version,
            platform,
            ..
        } => {
            let platform = platform
                .as_ref()
                .map_or(String::new(), |platform| format!("{platform}*"));
            Some(format!(
                "{}-{version}-*{platform}.whl",
                folded(package).replace('-', "_")
            ))
        }
        Source::Npm { package, version, .. } => Some(format!("{}-{version}.tgz", npm_file(package))),
        Source::Hf { .. } | Source::Url { .. } | Source::File { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pip(package: &str) -> Source {
        Source::Pip {
            package: package.to_owned(),
            version: "1.0".to_owned(),
            no_binary: false,
            ignore_requires_python: false,
            python_version: None,
            platform: None,
            bytes: None,
        }
    }

    fn npm(package: &str) -> Source {
        Source::Npm {
            package: package.to_owned(),
            version: "1.0".to_owned(),
            bytes: None,
        }
    }

    #[test]
    fn packages_are_known_by_name_and_version() {
        for (source, name, expected) in [
            (pip("Silero-VAD"), "silero_vad-1.0-py3-none-any.whl", true),
            (pip("silero_vad"), "silero-vad-1.0.tar.gz", true),
            (pip("silero-vad"), "silero_vad-1.0.1-py3-none-any.whl", false),
            (pip("silero-vad"), "silero_vad_extra-1.0-py3-none-any.whl", false),
            (pip("silero-vad"), "silero_vad-1.0.whl.part", false),
            (pip("silero-vad"), "silero_vad.whl", false),
            (npm("sts-base"), "sts-base-1.0.tgz", true),
            (npm("@own/base"), "own-base-1.0.tgz", true),
            (npm("@own/base"), "base-1.0.tgz", true),
            (npm("base"), "base-1.0.0.tgz", false),
        ] {
            assert_eq!(is_package(&source, name), expected, "{name}");
        }
    }
}
