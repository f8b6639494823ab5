//! A plan of the runner from the command line: signals, the mark of a crash, bars.

use crate::{exit::usage, progress::Console, signals};
use anyhow::Context;
use omni_pipeline::{Cancel, CrashMarker, Plan, RunOptions, Summary};
use std::path::Path;

/// Runs a plan into its output folder, which is made. Ctrl-C stops it between two clips.
pub fn execute(plan: &Plan, options: &RunOptions) -> anyhow::Result<Summary> {
    make_out(&options.out)?;
    let cancel = Cancel::default();
    signals::on_interrupt(&cancel);
    let marker = CrashMarker::create(&options.out)?;
    signals::mark_crashes(&marker.file);
    let console = Console::new(signals::stderr_is_terminal());
    let result = omni_pipeline::run(plan, options, &cancel, &console);
    console.finish();
    Ok(result?)
}

/// The output folder; a file in its place is a slip of the user's.
fn make_out(out: &Path) -> anyhow::Result<()> {
    let file = out.ancestors().find(|path| path.exists() && !path.is_dir());
    if let Some(file) = file {
        return Err(usage(format!(
            "output folder {}: {} is a file; give another --out, or another `out` in omni.toml",
            out.display(),
            file.display()
        )));
    }
    std::fs::create_dir_all(out)
        .with_context(|| format!("output folder {} (--out, or `out` in omni.toml)", out.display()))
}
