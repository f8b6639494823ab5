//! From a recipe to a plan: its source and stages by name, each with its own table of settings.

use crate::{
    kit::Kit,
    recipe::{Recipe, RecipeError},
    sources,
    stages::{self, BuildError},
};
use omni_pipeline::{AnyStage, Plan};
use std::path::Path;

/// Why a recipe gives no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The recipe is wrong.
    #[error("{0}")]
    Recipe(#[source] RecipeError),
    /// A stage cannot be built.
    #[error("stage `{stage}`: {error}")]
    Stage {
        /// The stage.
        stage: String,
        /// Why.
        #[source]
        error: Box<BuildError>,
    },
    /// The corpus cannot be listed.
    #[error("source `{name}`: {error}")]
    Source {
        /// The source.
        name: String,
        /// Why.
        #[source]
        error: Box<sources::Error>,
    },
    /// The stages do not fit together.
    #[error("{0}")]
    Graph(#[source] Box<omni_pipeline::Error>),
}

/// The stages that come beside a recipe's own, given the names of the records that those make.
pub type More<'a> = &'a dyn Fn(&[&str]) -> Vec<Box<dyn AnyStage>>;

/// Builds the plan of a recipe over a corpus; opens no network and no media.
///
/// # Errors
/// [`PlanError`].
pub fn build(recipe: &Recipe, root: &Path, kit: &Kit) -> Result<Plan, PlanError> {
    build_with(recipe, root, kit, &|_| Vec::new())
}

/// As [`build`], with stages of another crate behind the recipe's own.
///
/// # Errors
/// [`PlanError`].
pub fn build_with(recipe: &Recipe, root: &Path, kit: &Kit, more: More<'_>) -> Result<Plan, PlanError> {
    let names = recipe
        .stages
        .iter()
        .map(String::as_str)
        .chain([recipe.source.as_str()]);
    recipe.check_names(names).map_err(PlanError::Recipe)?;
    let known = sources::ALL
        .iter()
        .find(|entry| entry.name == recipe.source)
        .ok_or_else(|| {
            let names = sources::ALL.iter().map(|entry| entry.name);
            PlanError::Recipe(recipe.unknown_name("source", &recipe.source, names))
        })?;
    let mut stages = recipe
        .stages
        .iter()
        .map(|name| stage(recipe, name, kit))
        .collect::<Result<Vec<_>, _>>()?;
    let records: Vec<&str> = stages.iter().map(|stage| stage.describe().record).collect();
    stages.extend(more(&records));
    let table = recipe.table(&recipe.source).map_err(PlanError::Recipe)?;
    let source = (known.build)(root, &table.json()).map_err(|error| match error {
        sources::Error::Settings { what, .. } => PlanError::Recipe(table.refused(&what)),
        error => PlanError::Source {
            name: recipe.source.clone(),
            error: Box::new(error),
        },
    })?;
    Plan::new(source, stages).map_err(|error| PlanError::Graph(Box::new(error)))
}

fn stage(recipe: &Recipe, name: &str, kit: &Kit) -> Result<Box<dyn AnyStage>, PlanError> {
    let entry = stages::ALL
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| {
            let names = stages::ALL.iter().map(|entry| entry.name);
            PlanError::Recipe(recipe.unknown_name("stages", name, names))
        })?;
    let table = recipe.table(name).map_err(PlanError::Recipe)?;
    kit.begin(name);
    (entry.build)(&table, kit).map_err(|error| PlanError::Stage {
        stage: name.to_owned(),
        error: Box::new(error),
    })
}
