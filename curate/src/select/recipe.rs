//! What a selection asks for.

use super::Error;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// The recipes that are compiled in: name and TOML text.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("stage1", include_str!("../../recipes/select/stage1.toml")),
    ("stage2", include_str!("../../recipes/select/stage2.toml")),
    ("stage3", include_str!("../../recipes/select/stage3.toml")),
    ("tts", include_str!("../../recipes/select/tts.toml")),
];

/// The text of the compiled-in recipe of that name.
pub fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}

/// A count from `min` to `max`, both included.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Range {
    /// The least that is taken.
    pub min: usize,
    /// The most that is taken; absent: any number.
    pub max: Option<usize>,
}

impl Range {
    /// Whether a count lies inside.
    pub fn holds(&self, count: usize) -> bool {
        count >= self.min && self.max.is_none_or(|max| count <= max)
    }
}

/// The rules of a selection. Everything left out asks for nothing, except the three `require_` rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// The recipe's name.
    pub name: String,
    /// The training stage it is for (paper, section 4): 1 single-subject in-pair, 2 multi-subject in-pair,
    /// 3 cross-pair. Says what it is for; the rules below decide.
    pub stage: u32,
    /// How many people are in the picture.
    pub subjects: Range,
    /// How many voices are heard.
    pub speakers: Range,
    /// The languages (ISO 639-1) that may be spoken; empty: any. Every utterance must be in one of them.
    pub languages: Vec<String>,
    /// `in_pair` or `cross_pair`: where every reference picture must come from; absent: anywhere.
    pub origin: Option<String>,
    /// Licences that are taken, as the corpus spells them, in any case; empty: any, also none.
    pub licences: Vec<String>,
    /// `own`: references are the clip's. `pool`: they are drawn from other clips of the same person, never from this
    /// one; a clip for which there are none is left (`pool_face`, `pool_voice`).
    pub references: String,
    /// The manifest of identities for `references = "pool"`; absent: `pool` in the output folder.
    pub pool: Option<PathBuf>,
    /// Decides which of several references is drawn.
    pub seed: u64,
    /// Every voice must be bound to a face in the picture, and there must be one.
    pub require_bound: bool,
    /// Every person must have a reference picture and every bound voice a reference voice.
    pub require_references: bool,
    /// The clip must have an omni-caption.
    pub require_prompt: bool,
    /// The least a score may be, by the score's name: the corpus' own, or one of [`super::SCORES`].
    pub minimum: BTreeMap<String, f64>,
    /// The most a score may be.
    pub maximum: BTreeMap<String, f64>,
    /// A list of identities (`omni pool`'s manifest, or JSON lines with `face` and `voice` vectors): clips in which
    /// one of them is seen or heard are not taken.
    pub hold_out: Option<PathBuf>,
}

impl Default for Recipe {
    fn default() -> Self {
        Recipe {
            name: "unnamed".into(),
            stage: 1,
            subjects: Range::default(),
            speakers: Range::default(),
            languages: Vec::new(),
            origin: None,
            licences: Vec::new(),
            references: "own".into(),
            pool: None,
            seed: 0,
            require_bound: true,
            require_references: true,
            require_prompt: true,
            minimum: BTreeMap::new(),
            maximum: BTreeMap::new(),
            hold_out: None,
        }
    }
}

impl Recipe {
    /// Reads a recipe from TOML and checks that it can be met.
    ///
    /// # Errors
    /// [`Error::Recipe`] for a syntax error, a wrong type or an unknown key (the message names line and key);
    /// [`Error::Senseless`] for values that no clip can meet.
    pub fn parse(text: &str) -> Result<Recipe, Error> {
        let recipe: Recipe = toml::from_str(text)?;
        recipe.check()?;
        Ok(recipe)
    }

    /// Checks that some clip could meet the rules.
    ///
    /// # Errors
    /// [`Error::Senseless`] otherwise.
    pub fn check(&self) -> Result<(), Error> {
        let senseless = |what: String| {
            Err(Error::Senseless {
                name: self.name.clone(),
                what,
            })
        };
        for (key, range) in [("subjects", &self.subjects), ("speakers", &self.speakers)] {
            if range.max.is_some_and(|max| max < range.min) {
                return senseless(format!("`{key}.max` is below `{key}.min`"));
            }
        }
        if !(1..=3).contains(&self.stage) {
            return senseless(format!("`stage` is {}, use 1, 2 or 3", self.stage));
        }
        if let Some(origin) = &self.origin
            && !["in_pair", "cross_pair"].contains(&origin.as_str())
        {
            return senseless(format!("`origin` is `{origin}`, use `in_pair` or `cross_pair`"));
        }
        if !["own", "pool"].contains(&self.references.as_str()) {
            return senseless(format!(
                "`references` is `{}`, use `own` or `pool`",
                self.references
            ));
        }
        let mut limits = self.minimum.iter().chain(&self.maximum);
        if let Some((name, _)) = limits.find(|(_, limit)| limit.is_nan()) {
            return senseless(format!("the limit of score `{name}` is not a number"));
        }
        let crossed = self
            .minimum
            .iter()
            .find(|(name, min)| self.maximum.get(*name).is_some_and(|max| max < *min));
        match crossed {
            Some((name, _)) => senseless(format!("`maximum.{name}` is below `minimum.{name}`")),
            None => Ok(()),
        }
    }

    /// Whether a clip with that licence may be taken.
    pub fn permits(&self, licence: Option<&str>) -> bool {
        let known = |licence: &str| self.licences.iter().any(|one| one.eq_ignore_ascii_case(licence));
        self.licences.is_empty() || licence.is_some_and(known)
    }

    pub(super) fn speaks(&self, languages: &[String]) -> bool {
        self.languages.is_empty() || languages.iter().all(|language| self.languages.contains(language))
    }
}
