//! `omni explain`: every stage's rows, or drop, for one clip.

use crate::{
    cli::ExplainArgs,
    exit::{Code, usage},
    output,
};
use anyhow::Context;
use omni_pipeline::readers::Run;
use serde_json::json;

/// Runs the command.
pub fn run(args: &ExplainArgs) -> anyhow::Result<Code> {
    let run = Run::open(&args.out)
        .with_context(|| format!("{} is no output folder of a run", args.out.display()))?;
    let views = run.explain(&args.clip)?;
    if views.is_empty() {
        return Err(usage(format!(
            "no clip `{}` was listed in {out}; `omni show {out} listing` shows them all",
            args.clip,
            out = args.out.display()
        )));
    }
    if args.json {
        let stages: Vec<_> = views
            .iter()
            .map(|view| json!({ "stage": view.stage, "rows": view.rows, "dropped": view.drop, "part": view.part }))
            .collect();
        output::line(&serde_json::to_string_pretty(
            &json!({ "clip": args.clip, "stages": stages }),
        )?)?;
        return Ok(Code::Done);
    }
    for view in &views {
        match &view.drop {
            Some(reason) => output::line(&format!("{}: dropped, {reason}", view.stage))?,
            None => output::line(&format!("{}: {} rows", view.stage, view.rows.len()))?,
        }
        for row in &view.rows {
            output::line(&format!("    {}", shortened(row)))?;
        }
    }
    Ok(Code::Done)
}

/// A row as JSON, with long lists cut; `--json` prints them whole.
fn shortened(row: &serde_json::Value) -> String {
    let mut row = row.clone();
    if let Some(fields) = row.as_object_mut() {
        for value in fields.values_mut() {
            if let Some(items) = value.as_array().filter(|items| items.len() > 6) {
                *value = format!("[{} items]", items.len()).into();
            }
        }
    }
    row.to_string()
}
