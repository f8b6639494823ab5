//! `omni show`: a manifest as a table or JSON lines, or one part's receipt.

use crate::{
    cli::ShowArgs,
    exit::{Code, usage},
    output,
};
use anyhow::Context;
use omni_pipeline::{nearest, readers::Run};
use serde_json::{Map, Value};
use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

/// Runs the command.
pub fn run(args: &ShowArgs) -> anyhow::Result<Code> {
    let Some(record) = &args.record else {
        return receipt(args);
    };
    if !omni_schemas::ALL.iter().any(|(name, ..)| name == record) {
        return Err(super::no_record(record));
    }
    let filter = args.filter.as_deref().map(|text| parse_filter(text, record));
    let filter = filter.transpose()?;
    let mut printer = Printer {
        json: args.json,
        heading: None,
        shown: 0,
    };
    for part in parts(&args.path, record)? {
        let mut failed = None;
        let mut print = |row: Map<String, Value>| match printer.row(&row) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        };
        match &filter {
            None => omni_manifests::for_each_row(&part, &mut print)?,
            Some((field, wanted)) => {
                let wanted = |value: &Value| matches(value, wanted);
                omni_manifests::for_each_row_where(&part, field, &wanted, &mut print)?;
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
    }
    if printer.shown == 0 {
        output::note(&format!(
            "no rows of `{record}` {}",
            if filter.is_some() { "match" } else { "yet" }
        ));
    }
    Ok(Code::Done)
}

/// The parts of a record: of a run, or the one manifest that `omni select` or `omni pool` wrote.
fn parts(path: &Path, record: &str) -> anyhow::Result<Vec<PathBuf>> {
    let single = path.join(format!("{record}.parquet"));
    if single.is_file() {
        return Ok(vec![single]);
    }
    let run = Run::open(path).with_context(|| {
        format!(
            "{} is no output folder of a run: name the folder that `omni curate --out` wrote",
            path.display()
        )
    })?;
    Ok(run.record_parts(record)?)
}

fn receipt(args: &ShowArgs) -> anyhow::Result<Code> {
    if args.path.is_dir() {
        return Err(usage(format!(
            "{} is a folder: name a record (omni show {} clip) or one part",
            args.path.display(),
            args.path.display()
        )));
    }
    let receipt = omni_manifests::read_receipt(&args.path)?;
    output::line(&serde_json::to_string_pretty(&receipt)?)?;
    Ok(Code::Done)
}

fn parse_filter(text: &str, record: &str) -> anyhow::Result<(String, String)> {
    let (field, value) = text
        .split_once('=')
        .ok_or_else(|| usage(format!("--where {text}: expected FIELD=VALUE")))?;
    let field = field.trim();
    let columns = omni_schemas::ALL.iter().find(|(name, ..)| *name == record);
    let columns: Vec<String> = columns
        .iter()
        .flat_map(|(.., columns)| columns())
        .map(|column| column.name.to_owned())
        .collect();
    if !columns.iter().any(|column| column == field) {
        let hint = nearest(field, columns.iter().map(String::as_str));
        let hint = hint
            .map(|name| format!(" (did you mean `{name}`?)"))
            .unwrap_or_default();
        return Err(usage(format!(
            "--where {text}: `{record}` has no field `{field}`{hint}; there are: {}",
            columns.join(", ")
        )));
    }
    Ok((field.to_owned(), value.to_owned()))
}

fn matches(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        value => format!("{value}") == wanted,
    }
}

struct Printer {
    json: bool,
    heading: Option<Vec<String>>,
    shown: u64,
}

impl Printer {
    fn row(&mut self, row: &Map<String, Value>) -> anyhow::Result<()> {
        self.shown += 1;
        if self.json {
            return output::line(&serde_json::to_string(row)?);
        }
        if self.heading.is_none() {
            let names: Vec<String> = row.keys().cloned().collect();
            output::line(&names.join("\t"))?;
            self.heading = Some(names);
        }
        let cells: Vec<String> = row.values().map(cell).collect();
        output::line(&cells.join("\t"))
    }
}

/// A value as a cell: long ones shortened, numbers to six significant digits.
fn cell(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = match value {
        Value::Null => "-".into(),
        Value::String(text) => text.replace(['\t', '\n', '\r'], " "),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(real) => format!("{real:.6}")
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned(),
            None => number.to_string(),
        },
        Value::Array(items)
            if items.len() > 8 || items.iter().any(|item| item.is_object() || item.is_array()) =>
        {
            format!("[{} items]", items.len())
        }
        other => other.to_string(),
    };
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn filters_compare_text_and_what_numbers_look_like() {
        assert!(matches(&json!("a.mp4"), "a.mp4") && !matches(&json!("a.mp4"), "\"a.mp4\""));
        assert!(matches(&json!(3), "3") && matches(&json!(0.5), "0.5") && matches(&Value::Null, "null"));
    }

    #[test]
    fn cells_are_short_and_on_one_line() {
        assert_eq!(cell(&json!(0.25)), "0.25");
        assert_eq!(cell(&json!(25)), "25");
        assert_eq!(cell(&json!("a\tb\nc")), "a b c");
        assert_eq!(cell(&json!([{ "a": 1 }, { "a": 2 }])), "[2 items]");
        assert_eq!(cell(&json!("x".repeat(200))).chars().count(), 60);
    }
}
