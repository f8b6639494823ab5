//! `models.toml` parsed, each fault named by key and line.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::check;
use super::spec::{FileSpec, Licence, ModelKind, ModelSpec, Profile, Source};
use crate::Error;

/// Entries and profiles of a list, in its order. Fails as [`super::Registry::from_toml`] says.
pub(super) fn read(text: &str, origin: &str) -> Result<(Vec<ModelSpec>, Vec<Profile>), Error> {
    let raw: RawRegistry =
        toml::from_str(text).map_err(|error| Error::Registry(format!("{origin}: {error}")))?;
    let check = Check { text, origin };
    let networks = raw.network.into_iter().map(|entry| check.network(entry));
    let libraries = raw.library.into_iter().map(|entry| check.library(entry));
    let specs = networks.chain(libraries).collect::<Result<Vec<_>, _>>()?;
    check.unique(&specs)?;
    let profiles = check.profiles(raw.profiles, &specs)?;
    Ok((specs.into_iter().map(|(_, spec)| spec).collect(), profiles))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRegistry {
    #[serde(default)]
    profiles: toml::Table,
    #[serde(default)]
    network: Vec<RawNetwork>,
    #[serde(default)]
    library: Vec<RawLibrary>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNetwork {
    id: Spanned<String>,
    role: String,
    input: String,
    output: String,
    threshold: Option<f32>,
    threshold_of: Option<String>,
    #[serde(default = "yes")]
    run_here: bool,
    source: Source,
    licence: Licence,
    files: Vec<FileSpec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLibrary {
    id: Spanned<String>,
    version: String,
    arch: Option<String>,
    source: Source,
    licence: Licence,
    files: Vec<FileSpec>,
}

fn yes() -> bool {
    true
}

/// Byte offset of an entry's id, for the line in errors.
type Placed = (usize, ModelSpec);

struct Check<'a> {
    text: &'a str,
    origin: &'a str,
}

impl Check<'_> {
    fn error(&self, at: usize, message: &str) -> Error {
        let line = 1 + self
            .text
            .as_bytes()
            .iter()
            .take(at)
            .filter(|&&b| b == b'\n')
            .count();
        Error::Registry(format!("{}: line {line}: {message}", self.origin))
    }

    fn network(&self, raw: RawNetwork) -> Result<Placed, Error> {
        let (at, spec) = (
            raw.id.span().start,
            ModelSpec {
                id: raw.id.into_inner(),
                kind: ModelKind::Network,
                role: raw.role,
                version: None,
                arch: None,
                input: raw.input,
                output: raw.output,
                threshold: raw.threshold,
                threshold_of: raw.threshold_of,
                run_here: raw.run_here,
                source: raw.source,
                licence: raw.licence,
                files: raw.files,
            },
        );
        if spec.role.is_empty() {
            return Err(self.error(at, &format!("`{}`: `role` is empty", spec.id)));
        }
        self.entry(at, &spec)?;
        Ok((at, spec))
    }

    fn library(&self, raw: RawLibrary) -> Result<Placed, Error> {
        let (at, spec) = (
            raw.id.span().start,
            ModelSpec {
                id: raw.id.into_inner(),
                kind: ModelKind::Library,
                role: String::new(),
                version: Some(raw.version),
                arch: raw.arch,
                input: String::new(),
                output: String::new(),
                threshold: None,
                threshold_of: None,
                run_here: true,
                source: raw.source,
                licence: raw.licence,
                files: raw.files,
            },
        );
        let version = spec.version.as_deref().unwrap_or_default();
        if !check::is_plain(version) {
            return Err(self.error(
                at,
                &format!("`{}`: `version` \"{version}\" is no folder name", spec.id),
            ));
        }
        self.entry(at, &spec)?;
        Ok((at, spec))
    }

    fn entry(&self, at: usize, spec: &ModelSpec) -> Result<(), Error> {
        check::entry(spec).map_err(|message| self.error(at, &format!("`{}`: {message}", spec.id)))
    }

    fn unique(&self, specs: &[Placed]) -> Result<(), Error> {
        for (index, (at, spec)) in specs.iter().enumerate() {
            let clash = specs.iter().take(index).any(|(_, other)| {
                other.id == spec.id
                    && (other.arch == spec.arch || other.arch.is_none() || spec.arch.is_none())
            });
            if clash {
                return Err(self.error(*at, &format!("`id` \"{}\" occurs twice", spec.id)));
            }
        }
        Ok(())
    }

    fn profiles(&self, raw: toml::Table, specs: &[Placed]) -> Result<Vec<Profile>, Error> {
        raw.into_iter()
            .map(|(name, table)| self.profile(name, table, specs))
            .collect()
    }

    fn profile(&self, name: String, table: toml::Value, specs: &[Placed]) -> Result<Profile, Error> {
        let fail = |message: String| Error::Registry(format!("{}: profiles.{name}: {message}", self.origin));
        let table = table.try_into::<BTreeMap<String, String>>();
        let roles = table.map_err(|_| fail("must map roles to network ids".to_owned()))?;
        for (role, id) in &roles {
            let spec = specs.iter().map(|(_, spec)| spec).find(|spec| spec.id == *id);
            match spec {
                None => return Err(fail(format!("`{role}` names `{id}`, which is not listed"))),
                Some(spec) if spec.role != *role => {
                    return Err(fail(format!(
                        "`{role}` names `{id}`, whose role is `{}`",
                        spec.role
                    )));
                }
                Some(_) => {}
            }
        }
        Ok(Profile { name, roles })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::check::is_plain;
    use crate::registry::Registry;
    use crate::registry::list::BUILTIN;

    proptest! {
        #[test]
        fn any_text_gives_a_list_or_an_error(text in "\\PC{0,200}") {
            let _ = Registry::from_toml(&text, "t");
        }

        #[test]
        fn a_damaged_list_gives_a_list_or_an_error(at in 0..BUILTIN.len(), byte in any::<u8>(), cut in 0usize..40) {
            let mut bytes = BUILTIN.as_bytes().to_vec();
            bytes[at] = byte;
            let end = (at + 1 + cut).min(bytes.len());
            bytes.drain(at + 1..end);
            let text = String::from_utf8_lossy(&bytes);
            if let Ok(registry) = Registry::from_toml(&text, "t") {
                for spec in registry.specs() {
                    prop_assert!(spec.files.iter().all(|file| is_plain(&file.name)));
                }
            }
        }
    }
}
