//! `omni init`: writes the working folder's `omni.toml`.

use crate::{
    cli::InitArgs,
    config::{Config, FILE},
    exit::{Code, usage},
    output,
};
use anyhow::Context;
use omni_curate::sources;
use omni_pipeline::nearest;
use std::{collections::BTreeMap, path::Path};

/// Runs the command.
pub fn run(args: &InitArgs) -> anyhow::Result<Code> {
    if !sources::ALL.iter().any(|entry| entry.name == args.source) {
        let hint = nearest(&args.source, sources::ALL.iter().map(|entry| entry.name));
        let hint = hint
            .map(|name| format!(" (did you mean `{name}`?)"))
            .unwrap_or_default();
        let known = sources::ALL
            .iter()
            .map(|entry| entry.name)
            .collect::<Vec<_>>()
            .join(", ");
        return Err(usage(format!(
            "no source `{}`{hint}; there are: {known}",
            args.source
        )));
    }
    omni_perception::registry::Registry::builtin().profile(&args.profile)?;
    let path = Path::new(FILE);
    if path.exists() && !args.force {
        return Err(usage(format!("{FILE} is there already; --force replaces it")));
    }
    if !args.root.is_dir() {
        output::note(&format!("note: {} is not there yet", args.root.display()));
    }
    let config = Config {
        out: Some(args.out.clone()),
        profile: Some(args.profile.clone()),
        roots: BTreeMap::from([(args.source.clone(), args.root.clone())]),
        ..Config::default()
    };
    let text = format!(
        "# Settings of this folder for `omni`; flags win over them.\n{}",
        toml::to_string(&config)?
    );
    let temporary = path.with_extension(format!("toml.{}.tmp", std::process::id()));
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, path))
        .with_context(|| FILE.to_owned())?;
    output::line(&format!(
        "wrote {FILE}; next: omni curate --source {}",
        args.source
    ))?;
    Ok(Code::Done)
}
