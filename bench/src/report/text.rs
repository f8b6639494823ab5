//! A sheet as CSV, JSON, Markdown and LaTeX.

use super::{
    columns,
    run::MethodRun,
    sheet::{Column, Mark, Row, Sheet, SheetCell, case_readings},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What stands behind a published method's name.
pub(super) const PUBLISHED: &str = "published, other protocol";

/// A row per method, subset and reading, at full precision; then the published numbers.
pub fn csv(sheets: &[Sheet]) -> String {
    let mut out =
        "method,paradigm,profile,source,subset,reading,better,mean,low,high,count,of,absent\n".to_owned();
    for sheet in sheets {
        for row in sheet.rows() {
            for (column, cell) in sheet.columns.iter().zip(&row.cells) {
                if cell.applies {
                    line(sheet, row, column, cell, &mut out);
                }
            }
        }
    }
    out
}

fn line(sheet: &Sheet, row: &Row, column: &Column, cell: &SheetCell, out: &mut String) {
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let mean = cell.mean;
    let count = |of: Option<usize>| of.map(|of| of.to_string()).unwrap_or_default();
    let all = mean.map_or_else(|| cell.absent.values().sum(), |mean| mean.of);
    let absent: Vec<String> = cell
        .absent
        .iter()
        .map(|(word, n)| format!("{word}:{n}"))
        .collect();
    let ours = !row.published();
    let cells = [
        row.method.clone(),
        row.paradigm.clone(),
        row.profile.clone().unwrap_or_default(),
        if ours { "measured" } else { PUBLISHED }.to_owned(),
        sheet.subset.map_or("all".to_owned(), |subset| subset.to_string()),
        column.reading.clone(),
        column.better.clone(),
        number(mean.map(|mean| mean.value).or(cell.published)),
        number(mean.map(|mean| mean.low)),
        number(mean.map(|mean| mean.high)),
        count(ours.then_some(mean.map_or(0, |mean| mean.count))),
        count(ours.then_some(all)),
        absent.join(";"),
    ];
    let quoted: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
    out.push_str(&quoted.join(","));
    out.push('\n');
}

/// A cell of CSV (RFC 4180). A text that a spreadsheet would take for a formula gets an apostrophe.
fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '@', '\t', '\r'])
        || (cell.starts_with('-') && cell.parse::<f64>().is_err());
    let cell = match formula {
        true => format!("'{cell}"),
        false => cell.to_owned(),
    };
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell,
    }
}

/// Everything: headers, tables, and each case's readings.
pub fn json(runs: &[MethodRun], sheets: &[Sheet]) -> Value {
    let runs: Vec<Value> = runs
        .iter()
        .map(|run| {
            let cases = run.cases.values().map(|one| {
                let readings: serde_json::Map<String, Value> = run
                    .readings
                    .iter()
                    .filter_map(|(name, own)| {
                        let value = match &own.cases.get(&one.case.case)?.value {
                            Ok(value) => json!({ "value": value }),
                            Err(word) => json!({ "absent": word }),
                        };
                        Some((name.clone(), value))
                    })
                    .collect();
                json!({ "case": one.case.case, "subset": one.case.subset, "readings": readings })
            });
            json!({
                "header": run.header,
                "cells": crate::aggregate::table(&case_readings(run), crate::stats::SEED),
                "cases": cases.collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "format": "omni-bench-report/1",
        "intervals": { "level": 0.95, "resamples": crate::stats::RESAMPLES, "seed": crate::stats::SEED },
        "published": PUBLISHED,
        "tables": sheets,
        "runs": runs,
    })
}

/// Which way is better, as an arrow.
pub(super) fn arrow(better: &str) -> &'static str {
    match better {
        "higher" => "↑",
        "lower" => "↓",
        "near_zero" => "→0",
        _ => "",
    }
}

/// Sheets as tables of a text file, with what they rest on beneath.
pub fn markdown(runs: &[MethodRun], sheets: &[Sheet]) -> String {
    let mut out = String::new();
    for sheet in sheets {
        out.push_str(&format!("## {}\n\n", plain(&sheet.title)));
        let mut headings = vec!["Method".to_owned()];
        headings.extend(sheet.ticks.iter().map(|tick| plain(tick)));
        headings.extend(sheet.columns.iter().map(|column| {
            let networks = column
                .networks
                .as_ref()
                .map(|networks| format!(" @{}", plain(networks)))
                .unwrap_or_default();
            format!("{}{networks} {}", plain(&column.label), arrow(&column.better))
        }));
        let rule = vec!["---"; headings.len()].join(" | ");
        out.push_str(&format!("| {} |\n| {rule} |\n", headings.join(" | ")));
        for group in &sheet.groups {
            if let Some(title) = group.title {
                let rest = " |".repeat(headings.len() - 1);
                out.push_str(&format!("| *{title}* |{rest}\n"));
            }
            for row in &group.rows {
                let mut cells = vec![name(row, plain(&row.method))];
                cells.extend(row.ticks.iter().map(|on| if *on { "✓" } else { "" }.to_owned()));
                let own = sheet.columns.iter().zip(&row.cells);
                cells.extend(own.map(|(column, cell)| markdown_cell(column, cell)));
                out.push_str(&format!("| {} |\n", cells.join(" | ")));
            }
        }
        out.push_str("\n**Best** and *second best* of our own rows.\n\n");
    }
    out.push_str(
        "Cells: mean [95 % interval], cases with a value / all cases. Intervals: percentile bootstrap over cases, \
         2,000 resamples, seed 7.\n\n",
    );
    notes(runs)
        .iter()
        .for_each(|note| out.push_str(&format!("* {}\n", plain(note))));
    out
}

fn name(row: &Row, method: String) -> String {
    match row.published() {
        true => format!("{method} ({PUBLISHED})"),
        false => method,
    }
}

fn markdown_cell(column: &Column, cell: &SheetCell) -> String {
    let shown = |value: f64| columns::shown(&column.reading, value);
    match (cell.mean, cell.published) {
        (Some(mean), _) => {
            let value = match cell.mark {
                Some(Mark::Best) => format!("**{}**", shown(mean.value)),
                Some(Mark::Second) => format!("*{}*", shown(mean.value)),
                None => shown(mean.value),
            };
            format!(
                "{value} [{}, {}] {}/{}",
                shown(mean.low),
                shown(mean.high),
                mean.count,
                mean.of
            )
        }
        (None, Some(value)) => shown(value),
        (None, None) if cell.applies => format!("none of {}", cell.absent.values().sum::<usize>()),
        (None, None) => "-".to_owned(),
    }
}

/// Text without Markdown's and HTML's own signs.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '|' | '*' | '_' | '`' | '[' | ']' | '#' | '\\' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// What a reader of any table must know of the runs, a sentence each: networks and hashes, what was left out, failed,
/// or never ran.
pub fn notes(runs: &[MethodRun]) -> Vec<String> {
    let mut out = Vec::new();
    for run in runs {
        let header = &run.header;
        let failed = header.failed();
        if !failed.is_empty() {
            let some: Vec<String> = failed
                .iter()
                .take(5)
                .map(|(name, why)| format!("{name} ({why})"))
                .collect();
            let more = match failed.len() > some.len() {
                true => ", ...",
                false => "",
            };
            out.push(format!(
                "warning: {}: {} of {} outputs are missing or broken and have no readings: {}{more}",
                header.method,
                failed.len(),
                header.outputs.clips,
                some.join(", ")
            ));
        }
        out.extend(run.lost().map(|lost| format!("warning: {lost}")));
    }
    for run in runs {
        let header = &run.header;
        let networks: Vec<String> = header
            .networks
            .iter()
            .map(|network| {
                let hashes: Vec<&str> = network
                    .files
                    .iter()
                    .map(|file| file.sha256.get(..12).unwrap_or(&file.sha256))
                    .collect();
                format!("{} {} (sha256 {})", network.role, network.id, hashes.join(", "))
            })
            .collect();
        let metrics: Vec<String> = header
            .metrics
            .iter()
            .map(|metric| format!("{} {}", metric.metric, metric.version))
            .collect();
        out.push(format!(
            "{}: profile {}, omni {}, decoder {}, cases sha256 {}; metrics and their versions: {}; networks: {}",
            header.method,
            header.profile,
            header.omni_version,
            header.decoder,
            header.cases.sha256.get(..12).unwrap_or(&header.cases.sha256),
            said(&metrics),
            said(&networks),
        ));
        let left: Vec<String> = header
            .left_out
            .iter()
            .map(|one| format!("{} ({})", one.metric, one.absent))
            .collect();
        if !left.is_empty() {
            out.push(format!("{}: not measured: {}", header.method, left.join(", ")));
        }
    }
    let unseen: BTreeSet<_> = runs.iter().flat_map(|run| &run.header.unseen_roles).collect();
    if !unseen.is_empty() {
        let roles: Vec<String> = unseen
            .iter()
            .map(|one| format!("{} ({})", one.role, one.id))
            .collect();
        out.push(format!(
            "never run with real weights, neither in this project nor in these runs: {}",
            roles.join(", ")
        ));
    }
    out
}

fn said(list: &[String]) -> String {
    match list.is_empty() {
        true => "none".to_owned(),
        false => list.join(", "),
    }
}

/// Sheets as `booktabs` tables.
pub fn latex(runs: &[MethodRun], sheets: &[Sheet]) -> String {
    let mut out = "% needs \\usepackage{booktabs}, and \\usepackage{amssymb} for ticks\n".to_owned();
    for note in notes(runs) {
        out.push_str(&format!("% {}\n", note.replace(['\n', '\r'], " ")));
    }
    for sheet in sheets {
        out.push_str(&latex_table(sheet));
    }
    out
}

fn latex_table(sheet: &Sheet) -> String {
    let (ticks, numbers) = (sheet.ticks.len(), sheet.columns.len());
    let all = 1 + ticks + numbers;
    let mut out = format!(
        "\\begin{{table}}\n\\caption{{{}. Mean and 95\\,\\% bootstrap interval over cases; {PUBLISHED} where marked $^\\dagger$.}}\n\
         \\begin{{tabular}}{{l{}{}}}\n\\toprule\n",
        tex(&sheet.title),
        "c".repeat(ticks),
        "r".repeat(numbers)
    );
    let mut headings = vec!["Method".to_owned()];
    headings.extend(sheet.ticks.iter().map(|tick| tex(tick)));
    headings.extend(sheet.columns.iter().map(|column| {
        let arrow = match column.better.as_str() {
            "higher" => "$\\uparrow$",
            "lower" => "$\\downarrow$",
            _ => "$\\to 0$",
        };
        let networks = column
            .networks
            .as_ref()
            .map(|networks| format!("@{}", tex(networks)))
            .unwrap_or_default();
        format!("{}{networks} {arrow}", tex(&column.label))
    }));
    out.push_str(&format!("{} \\\\\n\\midrule\n", headings.join(" & ")));
    for (number, group) in sheet.groups.iter().enumerate() {
        if number > 0 {
            out.push_str("\\midrule\n");
        }
        if let Some(title) = group.title {
            out.push_str(&format!(
                "\\multicolumn{{{all}}}{{l}}{{\\emph{{{}}}}} \\\\\n",
                tex(title)
            ));
        }
        for row in &group.rows {
            let dagger = if row.published() { "$^\\dagger$" } else { "" };
            let mut cells = vec![format!("{}{dagger}", tex(&row.method))];
            cells.extend(
                row.ticks
                    .iter()
                    .map(|on| if *on { "\\checkmark" } else { "" }.to_owned()),
            );
            let own = sheet.columns.iter().zip(&row.cells);
            cells.extend(own.map(|(column, cell)| latex_cell(column, cell)));
            out.push_str(&format!("{} \\\\\n", cells.join(" & ")));
        }
    }
    out.push_str("\\bottomrule\n\\end{tabular}\n\\end{table}\n");
    out
}

fn latex_cell(column: &Column, cell: &SheetCell) -> String {
    let shown = |value: f64| columns::shown(&column.reading, value);
    match (cell.mean, cell.published) {
        (Some(mean), _) => {
            let value = match cell.mark {
                Some(Mark::Best) => format!("\\textbf{{{}}}", shown(mean.value)),
                Some(Mark::Second) => format!("\\underline{{{}}}", shown(mean.value)),
                None => shown(mean.value),
            };
            format!(
                "{value} {{\\scriptsize [{}, {}]}}",
                shown(mean.low),
                shown(mean.high)
            )
        }
        (None, Some(value)) => shown(value),
        (None, None) => "-".to_owned(),
    }
}

/// Text that LaTeX prints as it is.
fn tex(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '\\' => out.push_str("\\textbackslash{}"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_names_in_every_form() {
        assert_eq!(quoted("=1+1"), "'=1+1");
        assert_eq!(quoted("-0.5"), "-0.5");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(tex("50 % of_x\\y"), "50 \\% of\\_x\\textbackslash{}y");
        assert_eq!(plain("a|b_c<d>"), "a\\|b\\_c&lt;d>");
    }
}
