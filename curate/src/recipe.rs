//! Recipes: a named TOML file that says which source, which stages, and every setting of a run.
//!
//! Recipes are compiled in (`curate/recipes`), replaced by a file, and single keys overridden by `key=value`. A wrong
//! key is answered with its file, its line and the nearest valid key.

use omni_pipeline::nearest;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::path::PathBuf;
use toml_edit::Document;

/// The recipes that come with the program: name and text.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("openhumanvid", include_str!("../recipes/openhumanvid.toml")),
    ("opens2v", include_str!("../recipes/opens2v.toml")),
    ("emilia", include_str!("../recipes/emilia.toml")),
    ("folder", include_str!("../recipes/folder.toml")),
    ("services", include_str!("../recipes/services.toml")),
];

/// What is wrong with a recipe.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// No recipe of that name.
    #[error("no recipe `{name}`{}; the built-in ones are: {known}", nearest_hint(.nearest))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The closest known name.
        nearest: Option<String>,
        /// All known names.
        known: String,
    },
    /// The file could not be read.
    #[error("recipe {path}: {source}; `omni recipe` lists those to start one's own from")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A key or value is wrong.
    #[error("{origin}{}: key `{key}`: {message}{}", line_hint(.line), nearest_hint(.nearest))]
    Key {
        /// The file, or the built-in recipe's name, or `--set`.
        origin: String,
        /// The line, from 1.
        line: Option<usize>,
        /// The dotted key.
        key: String,
        /// What is wrong with it.
        message: String,
        /// The closest valid key.
        nearest: Option<String>,
    },
}

fn line_hint(line: &Option<usize>) -> String {
    line.map(|line| format!(", line {line}")).unwrap_or_default()
}

fn nearest_hint(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map(|name| format!(" (did you mean `{name}`?)"))
        .unwrap_or_default()
}

/// Limits and sizes of a run, not of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunTable {
    /// Clips in a shard on average; a shard is the unit of resume and of distribution.
    pub shard_clips: usize,
    /// A step that drops a larger share of a shard stops the run: a broken decoder must not look like bad data.
    pub max_drop_rate: f64,
    /// What is checked of a part that is already there: `full` (every byte) or `size`.
    pub verify: String,
    /// Seconds without a sign of life after which a clip is taken for stuck and the run ends; 0: never.
    pub stuck_after: f64,
}

impl Default for RunTable {
    fn default() -> Self {
        Self {
            shard_clips: 64,
            max_drop_rate: 1.0,
            verify: "full".into(),
            stuck_after: 1200.0,
        }
    }
}

/// The top of a recipe; the tables under `source` and `stage` are read by whoever they belong to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Top {
    name: String,
    source: String,
    stages: Vec<String>,
    #[serde(default)]
    run: RunTable,
    #[serde(default)]
    settings: toml::Table,
}

/// A recipe, read but for the tables of its source and stages.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Name of the recipe.
    pub name: String,
    /// Name of its source.
    pub source: String,
    /// Names of its stages.
    pub stages: Vec<String>,
    /// Limits and sizes of the run.
    pub run: RunTable,
    settings: toml::Table,
    origin: String,
    text: String,
    set: Vec<String>,
}

/// One table of a recipe, with what is needed to say where a wrong key stands.
#[derive(Debug, Clone)]
pub struct Table<'a> {
    recipe: &'a Recipe,
    path: Vec<String>,
    value: toml::Table,
}

impl Recipe {
    /// A built-in recipe.
    pub fn built_in(name: &str, set: &[String]) -> Result<Self, RecipeError> {
        match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Self::parse(text, &format!("built-in recipe `{name}`"), set),
            None => Err(RecipeError::Unknown {
                name: name.to_owned(),
                nearest: nearest(name, BUILT_IN.iter().map(|(known, _)| *known)),
                known: BUILT_IN
                    .iter()
                    .map(|(known, _)| *known)
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }

    /// A recipe file.
    pub fn open(path: &std::path::Path, set: &[String]) -> Result<Self, RecipeError> {
        let text = std::fs::read_to_string(path).map_err(|source| RecipeError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, &path.display().to_string(), set)
    }

    /// Parses a recipe; `set` holds `dotted.key=value` overrides, applied in order.
    pub fn parse(text: &str, origin: &str, set: &[String]) -> Result<Self, RecipeError> {
        let top: Top = read(text, origin, set)?;
        Ok(Self {
            name: top.name,
            source: top.source,
            stages: top.stages,
            run: top.run,
            settings: top.settings,
            origin: origin.to_owned(),
            text: text.to_owned(),
            set: set.to_vec(),
        })
    }

    /// The settings of a source or stage; an empty table when the recipe has none.
    pub fn table(&self, name: &str) -> Result<Table<'_>, RecipeError> {
        let path = vec!["settings".to_owned(), name.to_owned()];
        match self.settings.get(name) {
            None => Ok(Table {
                recipe: self,
                path,
                value: toml::Table::new(),
            }),
            Some(toml::Value::Table(value)) => Ok(Table {
                recipe: self,
                path,
                value: value.clone(),
            }),
            Some(_) => Err(self.error(&path, "must be a table")),
        }
    }

    /// Every name under `settings` must belong to the source or to a stage of this recipe.
    pub fn check_names<'a>(&self, known: impl Iterator<Item = &'a str> + Clone) -> Result<(), RecipeError> {
        for name in self.settings.keys() {
            if !known.clone().any(|candidate| candidate == name) {
                let path = vec!["settings".to_owned(), name.clone()];
                let mut error = self.error(&path, "no source or stage of this recipe has that name");
                if let RecipeError::Key { nearest: hint, .. } = &mut error {
                    *hint = nearest(name, known.clone());
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// An error that points at a name in the `stages` list or at `source`.
    pub fn unknown_name<'a>(
        &self,
        key: &str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> RecipeError {
        let mut error = self.error(&[key.to_owned()], &format!("nothing is called `{name}`"));
        if let RecipeError::Key { nearest: hint, .. } = &mut error {
            *hint = nearest(name, known);
        }
        error
    }

    /// Where it came from, for messages: the file, or the built-in recipe's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    fn error(&self, path: &[String], message: &str) -> RecipeError {
        place(&self.origin, &self.text, path, message, &self.set)
    }
}

/// Reads TOML, changed by `dotted.key=value` overrides in order, into a settings struct. `origin` is how messages
/// call the text.
///
/// # Errors
/// For broken TOML, an unknown key or a wrong value, with line and nearest key.
pub fn read<T: DeserializeOwned>(text: &str, origin: &str, set: &[String]) -> Result<T, RecipeError> {
    let mut table: toml::Table = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| line_at(text, span.start));
        wrong(origin, line, "", error.message())
    })?;
    for assignment in set {
        apply(&mut table, assignment)?;
    }
    toml::Value::Table(table)
        .try_into()
        .map_err(|error: toml::de::Error| {
            located(error.message(), &error.to_string(), origin, text, &[], set)
        })
}

impl Table<'_> {
    /// Reads the table into its settings struct.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, RecipeError> {
        toml::Value::Table(self.value.clone())
            .try_into()
            .map_err(|error: toml::de::Error| {
                let recipe = self.recipe;
                located(
                    error.message(),
                    &error.to_string(),
                    &recipe.origin,
                    &recipe.text,
                    &self.path,
                    &recipe.set,
                )
            })
    }

    /// The table as JSON, for a source that reads its settings itself.
    pub fn json(&self) -> serde_json::Value {
        serde_json::to_value(&self.value).unwrap_or(serde_json::Value::Null)
    }

    /// Places what serde said of this table's JSON: key, line and nearest key.
    pub fn refused(&self, message: &str) -> RecipeError {
        located(
            message,
            "",
            &self.recipe.origin,
            &self.recipe.text,
            &self.path,
            &self.recipe.set,
        )
    }

    /// An error about one key of this table.
    pub fn error(&self, key: &str, message: &str) -> RecipeError {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        self.recipe.error(&path, message)
    }
}

fn apply(table: &mut toml::Table, assignment: &str) -> Result<(), RecipeError> {
    let bad = |message: &str| wrong("--set", None, assignment, message);
    let (key, value) = assignment
        .split_once('=')
        .ok_or_else(|| bad("expected key=value"))?;
    let value = parse_value(value.trim());
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let last = parts
        .pop()
        .filter(|last| !last.is_empty())
        .ok_or_else(|| bad("expected key=value"))?;
    let mut here = table;
    for part in parts {
        let next = here
            .entry(part.to_owned())
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        here = next
            .as_table_mut()
            .ok_or_else(|| bad(&format!("`{part}` is not a table")))?;
    }
    here.insert(last.to_owned(), value);
    Ok(())
}

/// A TOML value, or the text itself where it is none (`--set run.verify=size` needs no quotes).
fn parse_value(text: &str) -> toml::Value {
    let parsed = toml::from_str::<toml::Table>(&format!("v = {text}")).ok();
    parsed
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

fn wrong(origin: &str, line: Option<usize>, key: &str, message: &str) -> RecipeError {
    RecipeError::Key {
        origin: origin.to_owned(),
        line,
        key: key.to_owned(),
        message: message.to_owned(),
        nearest: None,
    }
}

/// Turns serde's words ("unknown field `a`, expected one of `b`, `c`") into a place and a suggestion.
fn located(
    message: &str,
    full: &str,
    origin: &str,
    text: &str,
    path: &[String],
    set: &[String],
) -> RecipeError {
    let message = message.trim().to_owned();
    let mut words = message.split('`').skip(1).step_by(2);
    let mut path = path.to_vec();
    // The error's own display names the key, or for an unknown one the table around it: "in `run`".
    if let Some((_, key)) = full.rsplit_once("in `") {
        let key = key.split('`').next().unwrap_or_default();
        path.extend(key.split('.').map(str::to_owned));
    }
    if message.starts_with("unknown field") {
        let field = words.next().unwrap_or_default().to_owned();
        let hint = nearest(&field, words);
        if path.last() != Some(&field) {
            path.push(field);
        }
        let mut placed = place(origin, text, &path, &message, set);
        if let RecipeError::Key { nearest, .. } = &mut placed {
            *nearest = hint;
        }
        return placed;
    }
    place(origin, text, &path, &message, set)
}

fn place(origin: &str, text: &str, path: &[String], message: &str, set: &[String]) -> RecipeError {
    let key = path.join(".");
    let from_set = set.iter().any(|assignment| {
        assignment
            .split('=')
            .next()
            .is_some_and(|name| name.trim() == key || key.starts_with(&format!("{}.", name.trim())))
    });
    let (origin, line) = if from_set {
        ("--set", None)
    } else {
        (origin, line_of(text, path))
    };
    wrong(origin, line, &key, message)
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The line a dotted key stands on; of its nearest table when the key itself has no place.
fn line_of(text: &str, path: &[String]) -> Option<usize> {
    let document = Document::parse(text).ok()?;
    let mut table: &dyn toml_edit::TableLike = document.as_table();
    let mut line = None;
    for part in path {
        let Some((key, item)) = table.get_key_value(part) else {
            break;
        };
        line = key
            .span()
            .or_else(|| item.span())
            .map(|span| line_at(text, span.start))
            .or(line);
        match item.as_table_like() {
            Some(next) => table = next,
            None => break,
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Probe {
        min_seconds: f64,
        max_seconds: f64,
    }

    impl Default for Probe {
        fn default() -> Self {
            Self {
                min_seconds: 1.0,
                max_seconds: 9.0,
            }
        }
    }

    const TEXT: &str =
        "name = 'x'\nsource = 'folder'\nstages = ['probe']\n\n[settings.probe]\nmin_secnds = 2.0\n";

    fn shown(error: RecipeError) -> String {
        error.to_string()
    }

    #[test]
    fn a_typo_names_key_file_line_and_the_nearest_key() {
        let recipe = Recipe::parse(TEXT, "my.toml", &[]).unwrap();
        let error = shown(recipe.table("probe").unwrap().read::<Probe>().unwrap_err());
        for part in [
            "my.toml",
            "line 6",
            "settings.probe.min_secnds",
            "did you mean `min_seconds`",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_typo_at_the_top_and_in_a_table_name_are_found_too() {
        let top = shown(Recipe::parse("name='x'\nsourc='folder'\nstages=[]\n", "my.toml", &[]).unwrap_err());
        assert!(
            top.contains("line 2") && top.contains("did you mean `source`"),
            "{top}"
        );
        let text = format!("{TEXT}[run]\nverfy = 'size'\n");
        let table = shown(Recipe::parse(&text, "my.toml", &[]).unwrap_err());
        assert!(
            table.contains("line 8")
                && table.contains("`run.verfy`")
                && table.contains("did you mean `verify`"),
            "{table}"
        );
        let recipe = Recipe::parse(&TEXT.replace("probe]\n", "prob]\n"), "my.toml", &[]).unwrap();
        let name = shown(recipe.check_names(["folder", "probe"].into_iter()).unwrap_err());
        assert!(
            name.contains("line 5") && name.contains("did you mean `probe`"),
            "{name}"
        );
    }

    #[test]
    fn set_overrides_one_key_and_is_named_when_wrong() {
        let good = TEXT.replace("min_secnds", "min_seconds");
        let recipe = Recipe::parse(&good, "my.toml", &["settings.probe.min_seconds=0.25".into()]).unwrap();
        assert_eq!(
            recipe
                .table("probe")
                .unwrap()
                .read::<Probe>()
                .unwrap()
                .min_seconds,
            0.25
        );
        let recipe = Recipe::parse(&good, "my.toml", &["settings.probe.mx_seconds=1".into()]).unwrap();
        let error = shown(recipe.table("probe").unwrap().read::<Probe>().unwrap_err());
        assert!(
            error.contains("--set") && error.contains("did you mean `max_seconds`"),
            "{error}"
        );
        let recipe = Recipe::parse(&good, "my.toml", &["run.verify=size".into()]).unwrap();
        assert_eq!(recipe.run.verify, "size");
    }

    #[test]
    fn a_wrong_value_names_its_line() {
        let text = TEXT.replace("min_secnds = 2.0", "min_seconds = 'two'");
        let recipe = Recipe::parse(&text, "my.toml", &[]).unwrap();
        let error = shown(recipe.table("probe").unwrap().read::<Probe>().unwrap_err());
        assert!(
            error.contains("line 6") && error.contains("min_seconds"),
            "{error}"
        );
    }

    #[test]
    fn broken_toml_names_the_line() {
        let error = shown(Recipe::parse("name = 'x'\nsource = \n", "my.toml", &[]).unwrap_err());
        assert!(error.contains("my.toml") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn settings_alone_are_read_from_set() {
        let read = |set: &str| read::<Probe>("", "--set", &[set.to_owned()]);
        assert_eq!(read("max_seconds=4").unwrap().max_seconds, 4.0);
        let error = shown(read("max_secnds=4").unwrap_err());
        assert!(
            error.contains("--set") && error.contains("did you mean `max_seconds`"),
            "{error}"
        );
        let error = shown(read("max_seconds=long").unwrap_err());
        assert!(
            error.contains("--set") && error.contains("`max_seconds`"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_recipe_suggests_a_known_one() {
        let error = shown(Recipe::built_in("openhumanvd", &[]).unwrap_err());
        assert!(error.contains("did you mean `openhumanvid`"), "{error}");
    }
}
