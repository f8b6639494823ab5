//! A suite of cases out of curated clips: three subsets of equal size, balanced, of people no training clip shows.
//!
//! A clip becomes a case when everything a case needs is known of it: the prompt, a picture of everybody to be seen, a
//! voice of everybody to be heard. Who is in it decides the subset ([`Subset`]); inside a subset the clips are taken so
//! that languages and, in the third, traits come about equally often. The order of clips of one kind is that
//! of a hash of seed and clip, so equal inputs give equal bytes. Nobody comes into two cases while there is somebody else.

mod candidate;
mod choose;
mod guard;
mod people;
mod write;

use crate::cases::CaseError;
use candidate::Candidate;
use choose::Kinds;
use omni_media::Span;
use omni_pipeline::readers::Run;
use omni_schemas::Clip;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

pub use candidate::{Subset, Trait};
pub use guard::Guard;
pub use write::write;

/// How a suite is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Cases of each subset, at least 1.
    pub per_subset: usize,
    /// Seed of the draw.
    pub seed: u64,
    /// Whether each case gets the first frame of its clip, for methods that start from one.
    pub first_frames: bool,
}

/// Why there is no suite.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The run cannot be read.
    #[error(transparent)]
    Run(#[from] omni_pipeline::Error),
    /// A part or a tar cannot be read, or a file cannot be written.
    #[error(transparent)]
    Manifest(#[from] omni_manifests::Error),
    /// A case cannot be written down.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The run lacks a record that cases are made of.
    #[error(
        "{}: its recipe makes no {lacks}; curate with stages for pictures, voices, bindings and prompts (`omni recipe folder`)",
        run.display()
    )]
    Lacks {
        /// The run.
        run: PathBuf,
        /// The record.
        lacks: &'static str,
    },
    /// A clip whose first frame is wanted cannot be read.
    #[error("the first frame of clip `{clip}` ({}): {source}", path.display())]
    FirstFrame {
        /// The clip.
        clip: String,
        /// Its file.
        path: PathBuf,
        /// The cause.
        source: omni_media::Error,
    },
    /// There are too few clips for a subset.
    #[error("too few clips for the suite\n{0}")]
    TooFew(String),
    /// The training selection does not belong to the run.
    #[error("{}: {what}", selection.display())]
    Selection {
        /// The selection.
        selection: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// Vectors of two networks cannot be compared.
    #[error(
        "{kind} vectors of the training selection are `{training}`'s, those of clip `{clip}` are `{found}`'s; curate both with one network"
    )]
    OtherNetwork {
        /// `face` or `voice`.
        kind: &'static str,
        /// The network of the training clips.
        training: String,
        /// The network of the clip.
        found: String,
        /// The clip.
        clip: String,
    },
    /// The network of the vectors is not in the list of networks.
    #[error(transparent)]
    Network(#[from] omni_perception::Error),
    /// Nobody knows from which cosine two vectors of the network are one person.
    #[error("`{0}` has no threshold in models.toml: people cannot be told apart by its vectors")]
    NoThreshold(String),
    /// The folder that was named cannot be used.
    #[error("{}: {what}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        what: &'static str,
    },
}

impl BuildError {
    pub(super) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> BuildError + '_ {
        move |source| BuildError::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// What was looked at on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Clips whose prompt was made.
    pub clips: usize,
    /// Clips that can be a case, by subset (1 to 3).
    pub suited: BTreeMap<i64, usize>,
    /// Clips that cannot, by reason.
    pub unsuited: BTreeMap<&'static str, usize>,
    /// Clips whose people were compared with the training selection's, in the first reading of the run. Clips that would
    /// not have been drawn are not.
    pub compared: usize,
    /// Those left out by it: `known_face`, `known_voice`, `unknown_face`, `unknown_voice`.
    pub left_out: BTreeMap<&'static str, usize>,
    /// Cases with somebody who is in another case, by subset: there were not enough people.
    pub reused: BTreeMap<i64, usize>,
}

/// A suite that can be written.
#[derive(Debug)]
pub struct Suite {
    pub(super) cases: Vec<Candidate>,
    /// What was looked at on the way.
    pub found: Found,
    pub(super) settings: Settings,
    pub(super) inputs: BTreeMap<String, String>,
    pub(super) guard: Option<String>,
    /// File and stretch of each case's clip, where first frames are wanted.
    pub(super) media: BTreeMap<String, (PathBuf, Span)>,
}

impl Suite {
    /// Number of cases.
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there is no case.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Cases of a subset by language (several joined by `+`), then by trait; a case with two traits counts for both.
    pub fn balance(&self, subset: Subset) -> (BTreeMap<String, usize>, BTreeMap<&'static str, usize>) {
        let (mut languages, mut traits) = (BTreeMap::new(), BTreeMap::new());
        for one in self.cases.iter().filter(|one| one.subset == subset) {
            *languages.entry(one.languages.join("+")).or_default() += 1;
            for own in &one.traits {
                *traits.entry(own.word()).or_default() += 1;
            }
        }
        (languages, traits)
    }
}

/// Reads a finished run and draws a suite from it; `guard` holds the people of a training selection.
///
/// Memory is bounded by the suite: of each kind of clip only as many are kept as a subset takes. The run is read again while
/// cases are lacking that nobody of another case is in.
///
/// # Errors
/// [`BuildError`]; [`BuildError::TooFew`] tells for every subset what was found.
pub fn build(run: &Run, guard: Option<&Guard>, settings: Settings) -> Result<Suite, BuildError> {
    let mut kinds = Kinds::new(settings);
    let mut found = Found::default();
    look(run, guard, &mut kinds, &mut found)?;
    while kinds.draw() {
        look(run, guard, &mut kinds, &mut Found::default())?;
    }
    let (cases, reused) = kinds.finish();
    found.reused = reused;
    let counts = |subset: Subset| cases.iter().filter(|one| one.subset == subset).count();
    if Subset::ALL
        .iter()
        .any(|subset| counts(*subset) < settings.per_subset)
    {
        return Err(BuildError::TooFew(told(&found, &settings, counts)));
    }
    let stages = run.file().stages.iter();
    Ok(Suite {
        media: match settings.first_frames {
            true => media(run, &cases)?,
            false => BTreeMap::new(),
        },
        cases,
        found,
        settings,
        inputs: stages
            .map(|stage| (stage.stage.clone(), stage.fingerprint.clone()))
            .collect(),
        guard: guard.map(|guard| guard.check().to_owned()),
    })
}

/// One reading of the run.
fn look(run: &Run, guard: Option<&Guard>, kinds: &mut Kinds, found: &mut Found) -> Result<(), BuildError> {
    candidate::of_run(run, &mut |candidate| {
        found.clips += 1;
        let candidate = match candidate {
            Ok(candidate) => candidate,
            Err(reason) => {
                *found.unsuited.entry(reason).or_default() += 1;
                return Ok(());
            }
        };
        *found.suited.entry(candidate.subset.number()).or_default() += 1;
        if !kinds.wants(&candidate) {
            return Ok(());
        }
        if let Some(guard) = guard {
            found.compared += 1;
            if let Some(reason) = guard.meets(&candidate)? {
                *found.left_out.entry(reason).or_default() += 1;
                return Ok(());
            }
        }
        kinds.keep(candidate);
        Ok(())
    })
}

/// Where the clips of cases lie.
fn media(run: &Run, cases: &[Candidate]) -> Result<BTreeMap<String, (PathBuf, Span)>, BuildError> {
    let wanted: BTreeSet<&str> = cases.iter().map(|one| one.clip.as_str()).collect();
    let mut out = BTreeMap::new();
    for clip in run.table::<Clip>()? {
        let clip = clip?;
        if wanted.contains(clip.clip.as_str()) {
            let span = Span {
                start: clip.start,
                end: clip.end,
            };
            out.insert(clip.clip, (run.file().root.join(&clip.path), span));
        }
    }
    Ok(out)
}

/// What was found, for somebody who wants to know what to curate more of.
fn told(found: &Found, settings: &Settings, counts: impl Fn(Subset) -> usize) -> String {
    let mut out = String::new();
    for subset in Subset::ALL {
        let suited = found.suited.get(&subset.number()).copied().unwrap_or(0);
        out.push_str(&format!(
            "subset {} ({}): {} wanted, {} there; {suited} clips suited before people of the training selection were left out\n",
            subset.number(),
            subset.about(),
            settings.per_subset,
            counts(subset),
        ));
    }
    let list = |counts: &BTreeMap<&'static str, usize>| {
        let said: Vec<String> = counts.iter().map(|(why, n)| format!("{why} {n}")).collect();
        said.join(", ")
    };
    out.push_str(&format!("{} clips with a prompt", found.clips));
    if !found.unsuited.is_empty() {
        out.push_str(&format!("; no case because: {}", list(&found.unsuited)));
    }
    if !found.left_out.is_empty() {
        out.push_str(&format!(
            "; left out for the training selection: {}",
            list(&found.left_out)
        ));
    }
    out
}
