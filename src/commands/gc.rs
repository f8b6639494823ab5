//! `omni gc`: removes what an output folder holds that its last run does not use.

use super::out_dir;
use crate::{cli::GcArgs, config::Config, exit::Code, output, table};
use anyhow::Context;
use omni_curate::report::orphans;
use omni_pipeline::{Garbage, garbage, sweep};

/// Runs the command.
pub fn run(args: &GcArgs) -> anyhow::Result<Code> {
    let out = out_dir(args.out.as_deref(), &Config::load()?, "OUT")?;
    let mut found = garbage(&out).with_context(|| format!("nothing was removed from {}", out.display()))?;
    let old = orphans(&out)?.into_iter();
    found.extend(old.map(|path| Garbage::new(path, "data of an older report")));
    if found.is_empty() {
        output::line("nothing to remove")?;
        return Ok(Code::Done);
    }
    let name = |one: &Garbage| {
        one.path
            .strip_prefix(&out)
            .unwrap_or(&one.path)
            .display()
            .to_string()
    };
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|one| vec![name(one), one.bytes.to_string(), one.why.to_owned()])
        .collect();
    output::line(&table::layout(&["what", "bytes", "why"], &rows))?;
    if !args.dry_run {
        sweep(&found)?;
    }
    let bytes: u64 = found.iter().map(|one| one.bytes).sum();
    let state = if args.dry_run {
        "would be removed"
    } else {
        "removed"
    };
    output::line(&format!("{} things, {bytes} bytes, {state}", found.len()))?;
    Ok(Code::Done)
}
