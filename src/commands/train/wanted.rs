//! What a run is made of: from the flags, and from the run itself where it goes on.

use crate::{
    cli::TrainArgs,
    commands::folders,
    exit::{missing, usage},
};
use anyhow::Context;
use omni_model::train::{self, NumberForm, Recipe};
use omni_pipeline::nearest;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a run is made of, in its folder.
pub const RUN: &str = "run.json";

/// `RUN/run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFile {
    pub omni_version: String,
    pub recipe: Recipe,
    pub from: PathBuf,
    pub data: Vec<PathBuf>,
    #[serde(default = "processor")]
    pub device: String,
}

fn processor() -> String {
    "cpu".to_owned()
}

/// What is to be trained: from the flags, or with --resume from the run itself where a flag is not given.
pub fn wanted(args: &TrainArgs, out: &Path) -> anyhow::Result<RunFile> {
    if !args.dry_run {
        fresh(args, out)?;
    }
    let known = if args.resume && out.join(RUN).is_file() {
        Some(read(out)?)
    } else {
        None
    };
    if args.resume && known.is_none() && args.recipe.is_none() {
        return Err(missing(format!(
            "there is no run in {} to go on with ({RUN} is not there)",
            out.display()
        )));
    }
    let of_run = |what: &str| usage(format!("no {what}; a run that goes on has its own (--resume)"));
    let recipe = match (&args.recipe, &known) {
        (Some(name), _) => recipe(name, &args.set)?,
        (None, Some(known)) if args.set.is_empty() => known.recipe.clone(),
        (None, Some(known)) => {
            let text = overridden(&toml::to_string(&known.recipe)?, &args.set)?;
            Recipe::parse(&text).context("the run's own recipe with --set")?
        }
        (None, None) => return Err(of_run("recipe: give --recipe stage1 or a file")),
    };
    let device = args
        .device
        .clone()
        .or_else(|| known.as_ref().map(|known| known.device.clone()));
    let from = args
        .from
        .clone()
        .or_else(|| known.as_ref().map(|known| known.from.clone()));
    let data = if args.data.is_empty() {
        known.map(|known| known.data).unwrap_or_default()
    } else {
        args.data.clone()
    };
    if data.is_empty() {
        return Err(of_run("data: give --data DIR, what `omni encode` wrote"));
    }
    let absolute = |path: &PathBuf| {
        path.canonicalize()
            .map_err(|_| missing(format!("{} does not exist", path.display())))
    };
    let mut recipe = recipe;
    if let Some(word) = &args.dtype {
        recipe.dtype = NumberForm::parse(word)?;
    }
    if let Some(peak) = args.peak_tflops {
        recipe.peak_tflops = Some(peak);
        recipe
            .check()
            .map_err(|error| usage(format!("--peak-tflops {peak}: {error}")))?;
    }
    if recipe.samples.every > 0 {
        // a run that goes on in another folder has to find them
        recipe.samples.cases = absolute(&recipe.samples.cases)?;
    }
    Ok(RunFile {
        omni_version: env!("CARGO_PKG_VERSION").to_owned(),
        recipe,
        from: absolute(&from.ok_or_else(|| of_run("checkpoint to begin from: give --from DIR"))?)?,
        data: data.iter().map(absolute).collect::<anyhow::Result<_>>()?,
        device: device.unwrap_or_else(processor),
    })
}

/// What the run in a folder is made of.
pub fn read(run: &Path) -> anyhow::Result<RunFile> {
    let path = run.join(RUN);
    let text = std::fs::read_to_string(&path).map_err(|_| {
        missing(format!(
            "{} is no folder of a run ({RUN} is not there)",
            run.display()
        ))
    })?;
    let found: RunFile = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    found.recipe.check().with_context(|| path.display().to_string())?;
    Ok(found)
}

/// Fails where a run would be begun in a folder that has one, or that is something else.
pub fn fresh(args: &TrainArgs, out: &Path) -> anyhow::Result<()> {
    folders::refuse(out, &[folders::Kind::Training])?;
    if args.resume {
        return Ok(());
    }
    if out.join("checkpoints").is_dir() {
        return Err(usage(format!(
            "{} holds a run: go on with --resume, or give another --out",
            out.display()
        )));
    }
    Ok(())
}

/// A built-in recipe or a file, with keys set on the command line.
fn recipe(name: &str, set: &[String]) -> anyhow::Result<Recipe> {
    let built_in = train::BUILT_IN.iter().find(|(known, _)| *known == name);
    let text = match built_in {
        Some((_, text)) => (*text).to_owned(),
        None => std::fs::read_to_string(name).map_err(|error| {
            let known = train::BUILT_IN.iter().map(|(known, _)| *known);
            let hint = nearest(name, known.clone())
                .map(|name| format!(" (did you mean `{name}`?)"))
                .unwrap_or_default();
            usage(format!(
                "no training recipe or file `{name}`{hint}: {error}; the built-in ones are {} (`omni recipe stage1` prints one)",
                known.collect::<Vec<_>>().join(", ")
            ))
        })?,
    };
    let text = if set.is_empty() {
        text
    } else {
        overridden(&text, set)?
    };
    Recipe::parse(&text).with_context(|| match set {
        [] => name.to_owned(),
        set => format!("{name} with --set {}", set.join(" --set ")),
    })
}

fn overridden(text: &str, set: &[String]) -> anyhow::Result<String> {
    let mut table: toml::Table = toml::from_str(text).map_err(|error| usage(error.to_string()))?;
    for pair in set {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| usage(format!("--set {pair}: it is KEY=VALUE")))?;
        let value: toml::Value = toml::from_str::<toml::Table>(&format!("x = {value}"))
            .ok()
            .and_then(|mut table| table.remove("x"))
            .unwrap_or_else(|| toml::Value::String(value.to_owned()));
        let mut keys: Vec<&str> = key.split('.').collect();
        let last = keys.pop().unwrap_or_default();
        let mut place = &mut table;
        for key in keys {
            let below = place
                .entry(key)
                .or_insert_with(|| toml::Value::Table(toml::Table::new()));
            place = below
                .as_table_mut()
                .ok_or_else(|| usage(format!("--set {pair}: `{key}` is no table")))?;
        }
        place.insert(last.to_owned(), value);
    }
    Ok(toml::to_string(&table)?)
}
