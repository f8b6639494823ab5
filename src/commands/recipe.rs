//! `omni recipe`: a built-in recipe of curation or training, to start one's own from.

use crate::{exit::Code, output};
use omni_curate::recipe::{BUILT_IN, Recipe};

#[cfg(feature = "model")]
const OF_TRAINING: &[(&str, &str)] = omni_model::train::BUILT_IN;
#[cfg(not(feature = "model"))]
const OF_TRAINING: &[(&str, &str)] = &[];

/// Runs the command.
pub fn run(name: Option<&str>) -> anyhow::Result<Code> {
    let mut all = BUILT_IN.iter().chain(OF_TRAINING);
    match name {
        None => all.try_for_each(|(name, _)| output::line(name))?,
        Some(name) => match all.find(|(known, _)| *known == name) {
            Some((_, text)) => output::line(text.trim_end())?,
            // which says what there is
            None => drop(Recipe::built_in(name, &[])?),
        },
    }
    Ok(Code::Done)
}
