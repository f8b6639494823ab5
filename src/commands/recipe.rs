//! `omni recipe`: a built-in recipe, to start one's own from.

use crate::{exit::Code, output};
use omni_curate::recipe::{BUILT_IN, Recipe};

/// Runs the command.
pub fn run(name: Option<&str>) -> anyhow::Result<Code> {
    match name {
        None => BUILT_IN.iter().try_for_each(|(name, _)| output::line(name))?,
        Some(name) => {
            Recipe::built_in(name, &[])?;
            let text = BUILT_IN
                .iter()
                .find(|(known, _)| *known == name)
                .map_or("", |(_, text)| text);
            output::line(text.trim_end())?;
        }
    }
    Ok(Code::Done)
}
