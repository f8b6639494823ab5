//! The stages of curation, one file each. The list below is the only registration there is.

pub mod av_evidence;
pub mod bind;
pub mod bind_service;
pub mod caption_ingest;
pub mod compose;
pub mod cross_check;
pub mod face_ref;
pub mod probe;
pub mod track;
pub mod transcribe;
pub mod transcribe_service;
pub mod transcript_ingest;
pub mod voice_ref;
pub mod voice_resynth;

use crate::{
    kit::Kit,
    recipe::{RecipeError, Table},
};
use omni_pipeline::AnyStage;

/// What went wrong while a stage was built from its recipe.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The recipe is wrong.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The profile names no network for a role, or the registry does not know it.
    #[error(transparent)]
    Network(#[from] omni_perception::Error),
    /// A file the recipe names cannot be used.
    #[error("{0}")]
    Input(String),
}

/// The services of this run, for a stage that cannot do without.
fn hub(stage: &str, kit: &Kit) -> Result<std::sync::Arc<crate::services::Hub>, BuildError> {
    kit.hub().ok_or_else(|| {
        BuildError::Input(format!(
            "`{stage}` calls a service; give --services live, replay:DIR, or loopback for a try with canned answers"
        ))
    })
}

/// Makes a stage from its table of the recipe; opens no network.
pub type Build = fn(&Table<'_>, &Kit) -> Result<Box<dyn AnyStage>, BuildError>;

/// A stage as a recipe can name it.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Builds it from its table of the recipe.
    pub build: Build,
}

/// Every stage.
pub const ALL: &[Entry] = &[
    probe::ENTRY,
    track::ENTRY,
    face_ref::ENTRY,
    transcribe::ENTRY,
    transcribe_service::ENTRY,
    transcript_ingest::ENTRY,
    caption_ingest::ENTRY,
    voice_ref::ENTRY,
    voice_resynth::ENTRY,
    av_evidence::ENTRY,
    bind::ENTRY,
    bind_service::ENTRY,
    cross_check::ENTRY,
    compose::ENTRY,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_listed() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stages");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .filter(|name| name != "mod")
            .collect();
        let mut listed: Vec<String> = ALL.iter().map(|entry| entry.name.to_owned()).collect();
        files.sort();
        listed.sort();
        assert_eq!(files, listed);
    }
}
