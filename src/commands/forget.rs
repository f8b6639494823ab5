//! `omni forget`: takes clips, or everything of a person, out of what was derived from a corpus.

use super::out_dir;
use crate::{
    cli::ForgetArgs,
    config::Config,
    exit::{Code, usage},
    output, table,
};
use anyhow::Context;
use omni_curate::forget::{Beside, clips_of, forget_beside};
use omni_net::service::{ForgotCalls, forget_calls};
use omni_pipeline::{Forgot, forget};
use std::{collections::BTreeSet, path::Path};

/// Runs the command.
pub fn run(args: &ForgetArgs) -> anyhow::Result<Code> {
    let out = out_dir(args.out.as_deref(), &Config::load()?, "OUT")?;
    let clips = clips(args, &out)?;
    let write = !args.dry_run;
    let run = forget(&out, &clips, write)
        .with_context(|| format!("nothing more was taken out of {}", out.display()))?;
    if !run.unknown.is_empty() {
        let names: Vec<_> = run.unknown.iter().map(|clip| format!("`{clip}`")).collect();
        return Err(usage(format!(
            "no listing in {} names {}; nothing was taken out (`omni show {} listing` prints all clips)",
            out.display(),
            names.join(", "),
            out.display()
        )));
    }
    // Before the pools, which say who an identity is should the command be given again.
    let calls = calls(&out, &clips, write)?;
    let beside = forget_beside(&out, &clips, &run, write)?;
    print(&clips, &run, &calls, &beside, write)?;
    Ok(Code::Done)
}

fn clips(args: &ForgetArgs, out: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut clips: BTreeSet<String> = args.clip.iter().cloned().collect();
    let pool = args.pool.clone().unwrap_or_else(|| out.join("pool"));
    for identity in &args.identity {
        let found = clips_of(&pool, identity).with_context(|| {
            format!(
                "no pool in {}: `omni pool` makes one, or give --pool DIR",
                pool.display()
            )
        })?;
        clips.extend(found.ok_or_else(|| {
            usage(format!(
                "--identity {identity}: {pool} has no such identity; `omni show {pool} identity` prints all",
                pool = pool.display()
            ))
        })?);
    }
    if clips.is_empty() {
        return Err(usage("nothing to forget: give --clip KEY or --identity ID"));
    }
    Ok(clips)
}

/// What services were asked about the clips, and said.
fn calls(out: &Path, clips: &BTreeSet<String>, write: bool) -> anyhow::Result<ForgotCalls> {
    let mut all = ForgotCalls::default();
    for folder in ["replies", "replies-loopback"].map(|name| out.join(name)) {
        let forgot = forget_calls(&folder, clips, write)?;
        all.calls += forgot.calls;
        all.bytes += forgot.bytes;
        all.shared += forgot.shared;
        all.unnamed += forgot.unnamed;
        all.damaged += forgot.damaged;
    }
    Ok(all)
}

fn print(
    clips: &BTreeSet<String>,
    run: &Forgot,
    calls: &ForgotCalls,
    beside: &Beside,
    write: bool,
) -> anyhow::Result<()> {
    for clip in clips {
        output::line(&format!(
            "{} {clip}",
            if write { "forgot" } else { "would forget" }
        ))?;
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut put = |what: String, number: u64| rows.push(vec![what, number.to_string()]);
    run.rows
        .iter()
        .for_each(|(record, number)| put(format!("rows of {record}"), *number));
    put("pictures, sounds and answers in tars".into(), run.members);
    put("their bytes".into(), run.bytes);
    put("parts of older steps, or unsound".into(), run.parts.len() as u64);
    put("lines of the log".into(), run.log);
    put("calls to services and their answers".into(), calls.calls);
    put("bytes of those answers".into(), calls.bytes);
    put("names at answers that other clips share".into(), calls.shared);
    put("unreadable stretches of reply logs".into(), calls.damaged);
    beside
        .rows
        .iter()
        .for_each(|(path, number)| put(format!("rows of {}", path.display()), *number));
    put("files of the report".into(), beside.report.len() as u64);
    put("verdicts of the review".into(), beside.verdicts);
    rows.retain(|row| row[1] != "0");
    output::line(&table::layout(
        &[if write { "taken out" } else { "to be taken out" }, "number"],
        &rows,
    ))?;
    if write && !beside.report.is_empty() {
        output::note("the report wants to be made again: omni report");
    }
    if beside.rows.keys().any(|path| path.ends_with("identity.parquet")) {
        output::note(
            "identities that appear in these clips are gone whole; `omni pool` makes them anew from the clips that stay",
        );
    }
    if calls.unnamed > 0 {
        output::note(&format!(
            "not touched: {} calls in logs of an older version, which do not say what they are about; delete OUT/replies \
             to be rid of them (what is asked again is paid again)",
            calls.unnamed
        ));
    }
    output::note("not touched: the corpus itself, and exports, selections and pools outside this folder");
    Ok(())
}
