//! Chooses the clips a training stage takes (`omni select`). Stages measure; here, and only here, thresholds are
//! applied, so changing one recomputes nothing.
//!
//! A clip is judged alone against a [`Recipe`], rule by rule in a fixed order; the counts say for each rule how many
//! clips failed it at all and how many failed it first. What is not done here: reading manifests (the caller joins
//! the records of a clip into a [`Candidate`]) and sampling.

mod candidate;
mod donors;
mod hold_out;
mod recipe;

pub use candidate::{Candidate, FaceVector, SCORES};
pub use donors::Donors;
pub use hold_out::{HeldOut, Thresholds};
pub use recipe::{BUILT_IN, Range, Recipe, built_in};

use omni_schemas::Selection;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How many score names a report remembers; a corpus has a few dozen.
const MOST_NAMES: usize = 1000;

/// Why clips cannot be selected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The recipe is not valid TOML, or has an unknown key.
    #[error("select recipe: {0}")]
    Recipe(#[from] toml::de::Error),
    /// The recipe's values make no sense together.
    #[error("select recipe `{name}`: {what}")]
    Senseless {
        /// The recipe's name.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// The list of held-out identities cannot be read.
    #[error("hold-out list {path}: {what}")]
    HoldOut {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// Held-out vectors and those of the clips come from different networks.
    #[error(
        "hold-out list: its {kind} vectors have {held} numbers, those of clip `{clip}` {found}; \
         make the list with the network the clips were curated with"
    )]
    OtherNetwork {
        /// `face` or `voice`.
        kind: &'static str,
        /// Numbers in a held-out vector.
        held: usize,
        /// Numbers in the clip's vector.
        found: usize,
        /// The clip.
        clip: String,
    },
    /// A clip came twice.
    #[error("clip `{0}` came twice; select reads each clip once")]
    Twice(String),
}

/// What a recipe took and why it left the rest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Clips judged.
    pub seen: u64,
    /// Clips taken.
    pub taken: u64,
    /// Clips by the first rule they failed; adds up to `seen - taken`.
    pub first: BTreeMap<String, u64>,
    /// Clips by every rule they failed; a clip counts under each.
    pub total: BTreeMap<String, u64>,
    /// Minima and maxima on scores that no clip had, and readings that no clip was asked for: most likely a misspelt name.
    pub never_measured: Vec<String>,
    /// The names of scores that clips had (at most 1000), to name the nearest one.
    pub measured: BTreeSet<String>,
}

/// Judges clips one by one; memory does not grow with the number of clips.
pub struct Selector<'a> {
    recipe: &'a Recipe,
    held_out: &'a HeldOut,
    donors: Option<&'a Donors>,
    report: Report,
}

impl<'a> Selector<'a> {
    /// A selector; an empty `held_out` guards nothing.
    pub fn new(recipe: &'a Recipe, held_out: &'a HeldOut) -> Selector<'a> {
        Selector {
            recipe,
            held_out,
            donors: None,
            report: Report::default(),
        }
    }

    /// Draws references from other clips of the same person.
    #[must_use]
    pub fn with_donors(mut self, donors: &'a Donors) -> Selector<'a> {
        self.donors = Some(donors);
        self
    }

    /// The row of a clip that passes every rule; otherwise nothing, and the failed rules are counted.
    ///
    /// # Errors
    /// [`Error::OtherNetwork`] when the clip's vectors cannot be compared with the held-out ones.
    pub fn judge(&mut self, clip: &Candidate) -> Result<Option<Selection>, Error> {
        let mut failed = self.failed(clip)?;
        let drawn = match self.donors {
            Some(donors) => donors.draw(clip, self.recipe.seed),
            None if self.recipe.references == "pool" => Err(vec!["pool_face"]),
            None => Ok(Vec::new()),
        };
        if let Err(rules) = &drawn {
            failed.extend(rules.iter().map(|rule| (*rule).to_owned()));
        }
        self.report.seen += 1;
        self.remember(clip);
        let Some(first) = failed.first() else {
            self.report.taken += 1;
            let mut row = clip.selection();
            if let (Some(_), Ok(references)) = (self.donors, drawn) {
                row.references = references;
            }
            return Ok(Some(row));
        };
        *self.report.first.entry(first.clone()).or_default() += 1;
        for rule in BTreeSet::from_iter(&failed) {
            *self.report.total.entry(rule.clone()).or_default() += 1;
        }
        Ok(None)
    }

    /// The counts.
    pub fn finish(mut self) -> Report {
        let wanted = self.recipe.minimum.keys().chain(self.recipe.maximum.keys());
        let unknown: BTreeSet<&String> = wanted
            .filter(|name| !self.report.measured.contains(*name))
            .collect();
        self.report.never_measured = unknown.into_iter().cloned().collect();
        self.report
    }

    /// The rules the clip fails, in the order they are asked.
    fn failed(&self, clip: &Candidate) -> Result<Vec<String>, Error> {
        let recipe = self.recipe;
        let mut failed = Vec::new();
        let mut ask = |holds: bool, rule: &str| {
            if !holds {
                failed.push(rule.to_owned());
            }
        };
        ask(recipe.subjects.holds(clip.subjects().len()), "subjects");
        ask(recipe.speakers.holds(clip.speakers().len()), "speakers");
        ask(recipe.speaks(&clip.languages()), "languages");
        ask(
            recipe
                .origin
                .as_deref()
                .is_none_or(|origin| clip.all_from(origin)),
            "origin",
        );
        ask(recipe.permits(clip.clip.licence.as_deref()), "licence");
        ask(!recipe.require_bound || clip.voices_have_faces(), "unbound");
        ask(!recipe.require_references || clip.has_references(), "references");
        ask(!recipe.require_prompt || clip.prompt.is_some(), "no_prompt");
        failed.extend(self.outside(clip));
        failed.extend(self.held_out.matches(clip)?.into_iter().map(str::to_owned));
        Ok(failed)
    }

    /// The minima and maxima the clip misses; a score it does not have is missed too.
    fn outside(&self, clip: &Candidate) -> Vec<String> {
        let minima = self
            .recipe
            .minimum
            .iter()
            .map(|(name, limit)| ("minimum", name, *limit));
        let maxima = self
            .recipe
            .maximum
            .iter()
            .map(|(name, limit)| ("maximum", name, *limit));
        let judged = minima
            .chain(maxima)
            .filter_map(|(side, name, limit)| match clip.score(name) {
                None => Some(format!("{side}:{name}:absent")),
                Some(value) if side == "minimum" && value >= limit => None,
                Some(value) if side == "maximum" && value <= limit => None,
                Some(_) => Some(format!("{side}:{name}")),
            });
        judged.collect()
    }

    fn remember(&mut self, clip: &Candidate) {
        for name in clip.score_names() {
            if self.report.measured.len() < MOST_NAMES && !self.report.measured.contains(name) {
                self.report.measured.insert(name.to_owned());
            }
        }
    }
}

/// Judges all `clips` and returns the rows by clip, whatever order they came in.
///
/// # Errors
/// As [`Selector::judge`]; [`Error::Twice`] when a clip was taken twice.
pub fn select(
    recipe: &Recipe,
    held_out: &HeldOut,
    clips: impl IntoIterator<Item = Candidate>,
) -> Result<(Vec<Selection>, Report), Error> {
    let mut selector = Selector::new(recipe, held_out);
    let mut rows = Vec::new();
    for clip in clips {
        rows.extend(selector.judge(&clip)?);
    }
    rows.sort_by(|a, b| a.clip.cmp(&b.clip));
    match rows.windows(2).find(|pair| pair[0].clip == pair[1].clip) {
        Some(pair) => Err(Error::Twice(pair[0].clip.clone())),
        None => Ok((rows, selector.finish())),
    }
}

#[cfg(test)]
mod tests;
