//! `omni audit`: a corpus held against its own index, without networks.

use crate::{
    cli::AuditArgs,
    config::Config,
    exit::{Code, missing, usage},
    output, signals, table,
};
use anyhow::Context;
use omni_curate::{
    audit::{Options, Report, audit},
    recipe, sources,
};
use omni_manifests::{Receipt, fingerprint, write_part};
use omni_pipeline::Cancel;
use omni_schemas::{AuditRow, Record};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path};

/// Findings that are printed; the manifest has all.
const SHOWN: usize = 20;

/// Runs the command.
pub fn run(args: &AuditArgs) -> anyhow::Result<Code> {
    let config = Config::load()?;
    let root = args
        .root
        .clone()
        .or_else(|| config.roots.get(&args.source).cloned());
    let root = root.ok_or_else(|| {
        usage(format!(
            "no corpus: give --root DIR, or `roots.{}` in omni.toml",
            args.source
        ))
    })?;
    let entry = sources::find(&args.source).ok_or_else(|| {
        let names: Vec<&str> = sources::ALL.iter().map(|entry| entry.name).collect();
        usage(format!(
            "no source `{}`; there are: {}",
            args.source,
            names.join(", ")
        ))
    })?;
    let settings: toml::Table = recipe::read("", "--set", &args.set)?;
    let settings = serde_json::to_value(settings)?;
    let source = (entry.build)(&root, &settings).map_err(|error| match error {
        sources::Error::Settings { .. } => usage(error.to_string()),
        other => missing(other.to_string()),
    })?;
    let cancel = Cancel::default();
    signals::on_interrupt(&cancel);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options {
        full: args.full,
        threads,
    };
    let audited = audit(source.as_ref(), &root, options, &cancel);
    if signals::was_interrupted() {
        return Ok(Code::Interrupted);
    }
    let report = audited.with_context(|| format!("{} cannot be listed", root.display()))?;
    show(&report)?;
    if let Some(out) = &args.out {
        write(
            out,
            source.name(),
            json!({ "source": source.settings(), "full": args.full }),
            &report,
        )?;
        output::line(&format!(
            "\nwrote {}; look at it with: omni show {} audit_row",
            out.display(),
            out.display()
        ))?;
    }
    Ok(match report.findings.is_empty() {
        true => Code::Done,
        false => Code::Failed,
    })
}

fn show(report: &Report) -> anyhow::Result<()> {
    let mut lines: Vec<Vec<String>> = report
        .counts()
        .into_iter()
        .map(|(finding, count)| vec![finding.to_owned(), count.to_string()])
        .collect();
    lines.push(vec!["clips looked at".into(), report.clips.to_string()]);
    lines.push(vec!["left out by a filter".into(), report.filtered.to_string()]);
    output::line(&table::layout(&["what", "count"], &lines))?;
    if report.findings.is_empty() {
        return Ok(());
    }
    let rows: Vec<Vec<String>> = report
        .findings
        .iter()
        .take(SHOWN)
        .map(|row| vec![row.finding.clone(), row.clip.clone(), row.detail.clone()])
        .collect();
    output::line(&format!(
        "\n{}",
        table::layout(&["finding", "clip", "detail"], &rows)
    ))?;
    if report.findings.len() > SHOWN {
        let more = report.findings.len() - SHOWN;
        output::line(&format!("... and {more} more; --out DIR writes all of them"))?;
    }
    Ok(())
}

fn write(out: &Path, source: &str, settings: Value, report: &Report) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let receipt = Receipt {
        record: AuditRow::NAME.into(),
        record_version: AuditRow::VERSION,
        stage: "audit".into(),
        stage_version: 1,
        fingerprint: fingerprint(&json!({ "stage": "audit", "source": source, "settings": settings })),
        shard: "all".into(),
        rows: report.findings.len() as u64,
        drops: BTreeMap::new(),
        inputs: BTreeMap::new(),
        settings,
        tar: None,
        check: String::new(),
    };
    write_part(
        &out.join(format!("{}.parquet", AuditRow::NAME)),
        &report.findings,
        &receipt,
    )?;
    Ok(())
}
