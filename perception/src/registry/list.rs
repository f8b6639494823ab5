//! The whole list: look-ups by id, role and profile.

use super::parse;
use super::spec::{ModelSpec, Profile};
use crate::Error;

/// The list compiled into this crate.
pub(super) const BUILTIN: &str = include_str!("../../models.toml");

/// All networks and run-time libraries, and the profiles that choose among them.
#[derive(Debug, Clone, PartialEq)]
pub struct Registry {
    specs: Vec<ModelSpec>,
    profiles: Vec<Profile>,
}

impl Registry {
    /// The list compiled into this crate. A test parses it, so it is always valid.
    pub fn builtin() -> Registry {
        #[expect(
            clippy::expect_used,
            reason = "compiled in, and parsed by a test of this file"
        )]
        Self::from_toml(BUILTIN, "models.toml").expect("the compiled-in models.toml is valid")
    }

    /// Parses a list of the same form; `origin` names it in errors.
    ///
    /// Fails with [`Error::Registry`], naming key and line, on unknown keys, repeated ids, names
    /// that would leave the store, hashes that are none, and profiles that name what is not there.
    pub fn from_toml(text: &str, origin: &str) -> Result<Registry, Error> {
        let (specs, profiles) = parse::read(text, origin)?;
        Ok(Registry { specs, profiles })
    }

    /// All entries in the order of the list, those for other processors too.
    pub fn specs(&self) -> &[ModelSpec] {
        &self.specs
    }

    /// All profiles, in the order of the list.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// The profile of this name, or an error that lists those there are.
    pub fn profile(&self, name: &str) -> Result<&Profile, Error> {
        self.profiles
            .iter()
            .find(|profile| profile.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = self.profiles.iter().map(|p| p.name.as_str()).collect();
                Error::Registry(format!("no profile `{name}`; there are: {}", names.join(", ")))
            })
    }

    /// The entry of this id that fits this machine's processor.
    pub fn spec(&self, id: &str) -> Result<&ModelSpec, Error> {
        self.spec_for(id, std::env::consts::ARCH)
    }

    /// The network that a profile names for a role.
    pub fn role(&self, profile: &str, role: &str) -> Result<&ModelSpec, Error> {
        let profile = self.profile(profile)?;
        let id = profile.roles.get(role).ok_or_else(|| {
            let roles: Vec<_> = profile.roles.keys().map(String::as_str).collect();
            let name = &profile.name;
            Error::Registry(format!(
                "profile `{name}` has no role `{role}`; it has: {}",
                roles.join(", ")
            ))
        })?;
        self.spec(id)
    }

    /// Ids of a profile's networks in alphabetical order, each once.
    pub fn ids(&self, profile: &str) -> Result<Vec<String>, Error> {
        let mut ids: Vec<_> = self.profile(profile)?.roles.values().cloned().collect();
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    fn spec_for(&self, id: &str, arch: &str) -> Result<&ModelSpec, Error> {
        let fits = |spec: &&ModelSpec| spec.arch.as_deref().is_none_or(|a| a == arch);
        let mut same_id = self.specs.iter().filter(|spec| spec.id == id).peekable();
        if same_id.peek().is_none() {
            return Err(Error::Registry(format!(
                "no network `{id}`; see `omni models list`"
            )));
        }
        same_id
            .find(fits)
            .ok_or_else(|| Error::Registry(format!("`{id}` is not listed for the processor {arch}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiled_in_list_parses_and_its_profiles_are_whole() {
        let registry = Registry::builtin();
        let open = registry.profile("open").unwrap();
        for role in [
            "face_detector",
            "face_embedder",
            "speaker_embedder",
            "speaker_segmentation",
            "vad",
            "asr",
        ] {
            for profile in registry.profiles() {
                assert!(profile.roles.contains_key(role), "{} lacks {role}", profile.name);
            }
            assert!(
                !registry.role("open", role).unwrap().licence.non_commercial,
                "{role} of open"
            );
        }
        assert_eq!(open.roles.len(), 8);
        assert_eq!(
            registry.spec("yunet_2023mar").unwrap().files[0].bytes,
            Some(232_589)
        );
    }

    #[test]
    fn a_library_is_chosen_by_processor() {
        let registry = Registry::builtin();
        let arm = registry.spec_for("onnxruntime", "aarch64").unwrap();
        let intel = registry.spec_for("onnxruntime", "x86_64").unwrap();
        assert_ne!(arm.files[0].sha256, intel.files[0].sha256);
        let missing = registry
            .spec_for("onnxruntime", "riscv64")
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("not listed for the processor riscv64"),
            "{missing}"
        );
    }
}
