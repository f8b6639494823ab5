//! A sheet as an HTML table, in the blocks of the paper's Table 1.

use super::{escape, hue};
use crate::report::{
    columns,
    run::MethodRun,
    sheet::{Column, Mark, Row, Sheet, SheetCell},
    text::{PUBLISHED, arrow},
};

pub(super) fn table(runs: &[MethodRun], sheet: &Sheet) -> String {
    let mut out = "<div class=\"scroll\"><table class=\"sheet\"><thead><tr>".to_owned();
    out.push_str("<th rowspan=\"2\" class=\"who\">Method</th>");
    for tick in &sheet.ticks {
        out.push_str(&format!("<th rowspan=\"2\" class=\"tick\">{}</th>", escape(tick)));
    }
    for (block, columns) in blocks(&sheet.columns) {
        out.push_str(&format!("<th colspan=\"{columns}\" class=\"block\">{block}</th>"));
    }
    out.push_str("</tr><tr>");
    let mut last = "";
    for column in &sheet.columns {
        let edge = if column.block == last { "" } else { " edge" };
        last = column.block;
        out.push_str(&heading(column, edge));
    }
    out.push_str("</tr></thead><tbody>");
    for group in &sheet.groups {
        if let Some(title) = group.title {
            let all = 1 + sheet.ticks.len() + sheet.columns.len();
            out.push_str(&format!(
                "<tr class=\"group\"><th colspan=\"{all}\"><span>{title}</span></th></tr>"
            ));
        }
        for row in &group.rows {
            line(runs, sheet, row, &mut out);
        }
    }
    out.push_str("</tbody></table></div>\n");
    out
}

/// The blocks in a row, each with its number of columns.
fn blocks(columns: &[Column]) -> Vec<(&'static str, usize)> {
    let mut out: Vec<(&'static str, usize)> = Vec::new();
    for column in columns {
        match out.last_mut() {
            Some((block, count)) if *block == column.block => *count += 1,
            _ => out.push((column.block, 1)),
        }
    }
    out
}

fn heading(column: &Column, edge: &str) -> String {
    let about = column.base.map_or("", |base| base.about);
    let networks = column
        .networks
        .as_ref()
        .map(|networks| {
            let pieces: Vec<String> = networks.split('+').map(escape).collect();
            format!("<small>{}</small>", pieces.join("<wbr>+"))
        })
        .unwrap_or_default();
    let unit = match column.unit.is_empty() {
        true => String::new(),
        false => format!(", {}", escape(&column.unit)),
    };
    format!(
        "<th class=\"number{edge}\" title=\"{}: {}\"><span class=\"label\">{}{unit} <span class=\"arrow\">{}</span></span>{networks}</th>",
        escape(&column.reading),
        escape(about),
        escape(&column.label),
        arrow(&column.better)
    )
}

fn line(runs: &[MethodRun], sheet: &Sheet, row: &Row, out: &mut String) {
    let number = runs.iter().position(|run| run.method() == row.method);
    let class = match (row.published(), number) {
        (false, Some(number)) => format!("hue{}", hue(number)),
        _ => "published".to_owned(),
    };
    let mark = match row.published() {
        true => format!("<span class=\"chip\">{PUBLISHED}</span>"),
        false => String::new(),
    };
    let dot = match row.published() {
        true => "",
        false => "<b class=\"dot\"></b> ",
    };
    out.push_str(&format!(
        "<tr class=\"{class}\"><th class=\"who\">{dot}<span class=\"name\">{}</span>{mark}</th>",
        escape(&row.method)
    ));
    for on in &row.ticks {
        let tick = match on {
            true => "<span aria-label=\"on\">✓</span>",
            false => "<span class=\"soft\" aria-label=\"off\">–</span>",
        };
        out.push_str(&format!("<td class=\"tick\">{tick}</td>"));
    }
    let mut last = "";
    for (column, cell) in sheet.columns.iter().zip(&row.cells) {
        let edge = if column.block == last { "" } else { " edge" };
        last = column.block;
        out.push_str(&format!(
            "<td class=\"number{edge}\">{}</td>",
            inside(column, cell)
        ));
    }
    out.push_str("</tr>");
}

fn inside(column: &Column, cell: &SheetCell) -> String {
    let shown = |value: f64| columns::shown(&column.reading, value);
    let absent: Vec<String> = cell
        .absent
        .iter()
        .map(|(word, n)| format!("{} {n}", escape(word)))
        .collect();
    match (cell.mean, cell.published) {
        (Some(mean), _) => {
            let value = match cell.mark {
                Some(Mark::Best) => format!("<b class=\"best\">{}</b>", shown(mean.value)),
                Some(Mark::Second) => format!("<u class=\"second\">{}</u>", shown(mean.value)),
                None => shown(mean.value),
            };
            let whole = if mean.count == mean.of {
                ""
            } else {
                " class=\"part\""
            };
            format!(
                "{value}<small>{} – {}</small><small{whole} title=\"{}\">{}/{}</small>",
                shown(mean.low),
                shown(mean.high),
                absent.join(", "),
                mean.count,
                mean.of
            )
        }
        (None, Some(value)) => shown(value),
        (None, None) if cell.applies && !cell.absent.is_empty() => {
            format!(
                "<span class=\"soft\">none</span><small class=\"part\">{}</small>",
                absent.join("<br>")
            )
        }
        (None, None) => "<span class=\"soft\">-</span>".to_owned(),
    }
}
