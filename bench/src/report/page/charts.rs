//! Charts as SVG: bars by subset, the radar, and how a reading spreads over the cases. Colours are the style sheet's.

use super::{escape, hue};
use crate::report::{
    columns,
    run::MethodRun,
    sheet::{Column, Sheet},
};
use std::f64::consts::TAU;

/// Bins of a spread.
const BINS: usize = 36;

/// The colours of the methods.
fn legend(runs: &[MethodRun]) -> String {
    let names: String = runs
        .iter()
        .enumerate()
        .map(|(number, run)| {
            format!(
                "<li class=\"hue{}\"><b class=\"dot\"></b> <span class=\"name\">{}</span></li>",
                hue(number),
                escape(run.method())
            )
        })
        .collect();
    format!("<ul class=\"legend\">{names}</ul>")
}

fn head(column: &Column) -> String {
    let networks = column
        .networks
        .as_ref()
        .map(|networks| format!(" <small>{}</small>", escape(networks).replace('+', "<wbr>+")))
        .unwrap_or_default();
    format!(
        "<figcaption>{} <span class=\"arrow\">{}</span>{networks}</figcaption>",
        escape(&column.label),
        crate::report::text::arrow(&column.better)
    )
}

/// One small chart per reading: a group of bars for each table, a bar for each method, whiskers for the interval.
pub(super) fn bars(runs: &[MethodRun], sheets: &[Sheet]) -> String {
    let Some(first) = sheets.first() else {
        return String::new();
    };
    // Subsets first, all of them together last.
    let order: Vec<&Sheet> = sheets[1..].iter().chain([first]).collect();
    let figures: String = first
        .columns
        .iter()
        .filter_map(|column| {
            let groups: Vec<(String, Vec<Option<Bar>>)> = order
                .iter()
                .map(|sheet| {
                    (
                        short(sheet),
                        runs.iter().map(|run| bar(sheet, run, &column.reading)).collect(),
                    )
                })
                .collect();
            let any = groups.iter().any(|(_, bars)| bars.iter().any(Option::is_some));
            any.then(|| {
                format!(
                    "<figure class=\"chart\">{}{}</figure>",
                    head(column),
                    bar_chart(column, runs, &groups)
                )
            })
        })
        .collect();
    format!("{}<div class=\"charts\">{figures}</div>", legend(runs))
}

fn short(sheet: &Sheet) -> String {
    sheet
        .subset
        .map_or("all".to_owned(), |subset| format!("subset {subset}"))
}

#[derive(Clone, Copy)]
struct Bar {
    value: f64,
    low: f64,
    high: f64,
    count: usize,
    of: usize,
}

fn bar(sheet: &Sheet, run: &MethodRun, reading: &str) -> Option<Bar> {
    let at = sheet
        .columns
        .iter()
        .position(|column| column.reading == reading)?;
    let row = sheet
        .rows()
        .find(|row| !row.published() && row.method == run.method())?;
    let mean = row.cells[at].mean?;
    Some(Bar {
        value: mean.value,
        low: mean.low,
        high: mean.high,
        count: mean.count,
        of: mean.of,
    })
}

fn bar_chart(column: &Column, runs: &[MethodRun], groups: &[(String, Vec<Option<Bar>>)]) -> String {
    let (width, height, left, bottom) = (300.0, 150.0, 44.0, 22.0);
    let all = || groups.iter().flat_map(|(_, bars)| bars.iter().flatten());
    let top = all().map(|bar| bar.high.max(bar.value)).fold(0.0, f64::max);
    let low = all().map(|bar| bar.low.min(bar.value)).fold(0.0, f64::min);
    let (low, top) = match top > low {
        true => (low, top),
        false => (0.0, 1.0),
    };
    let y = |value: f64| 8.0 + (height - bottom - 8.0) * (top - value) / (top - low);
    let mut out = format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{} by subset\">",
        escape(&column.reading)
    );
    for value in [Some(0.0), Some(top), (low < 0.0).then_some(low)]
        .into_iter()
        .flatten()
    {
        out.push_str(&format!(
            "<line class=\"grid\" x1=\"{left}\" x2=\"{width}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/>",
            y(value)
        ));
        // Two numbers on one spot say nothing: zero stays.
        if value == 0.0 || (y(value) - y(0.0)).abs() > 12.0 {
            out.push_str(&format!(
                "<text class=\"soft\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 5.0,
                y(value) + 4.0,
                columns::shown(&column.reading, value)
            ));
        }
    }
    let wide = (width - left) / groups.len() as f64;
    for (number, (title, bars)) in groups.iter().enumerate() {
        let from = left + wide * number as f64;
        out.push_str(&format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{title}</text>",
            from + wide / 2.0,
            height - 6.0
        ));
        let each = (wide - 10.0) / bars.len() as f64;
        for (method, bar) in bars.iter().enumerate() {
            let Some(bar) = bar else { continue };
            let x = from + 5.0 + each * method as f64;
            let (above, below) = (y(bar.value.max(0.0)), y(bar.value.min(0.0)));
            let middle = x + each / 2.0;
            out.push_str(&format!(
                "<g class=\"hue{}\"><title>{}, {title}: {} [{}, {}], {}/{} cases</title>\
                 <rect class=\"bar\" x=\"{:.1}\" y=\"{above:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
                 <line class=\"whisker\" x1=\"{middle:.1}\" x2=\"{middle:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/></g>",
                hue(method),
                escape(runs[method].method()),
                columns::shown(&column.reading, bar.value),
                columns::shown(&column.reading, bar.low),
                columns::shown(&column.reading, bar.high),
                bar.count,
                bar.of,
                x + each * 0.08,
                (each * 0.84).max(1.0),
                (below - above).max(0.8),
                y(bar.high),
                y(bar.low),
            ));
        }
    }
    out.push_str("</svg>");
    out
}

/// The paper's readings on one wheel, on fixed axes: the rim is the better end.
pub(super) fn radar(runs: &[MethodRun], sheet: &Sheet) -> String {
    let axes: Vec<(usize, &Column, (f64, f64))> = sheet
        .columns
        .iter()
        .enumerate()
        .filter_map(|(at, column)| {
            let axis = column.base?.axis?;
            let any = sheet
                .rows()
                .any(|row| !row.published() && row.cells[at].mean.is_some());
            any.then_some((at, column, axis))
        })
        .collect();
    if axes.len() < 3 {
        return format!(
            "<p class=\"note\">A radar needs three of the paper's readings; here are {}.</p>",
            axes.len()
        );
    }
    let (middle, far) = (230.0, 170.0);
    let point = |number: usize, share: f64| {
        let angle = TAU * number as f64 / axes.len() as f64 - TAU / 4.0;
        (
            middle + far * share * angle.cos(),
            middle + far * share * angle.sin(),
        )
    };
    let mut out = format!(
        "{}<figure class=\"radar\"><svg viewBox=\"-60 24 580 420\" role=\"img\" aria-label=\"The paper's readings on fixed axes\">",
        legend(runs)
    );
    for ring in [0.25, 0.5, 0.75, 1.0] {
        let corners: Vec<String> = (0..axes.len())
            .map(|number| {
                let (x, y) = point(number, ring);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        out.push_str(&format!(
            "<polygon class=\"ring\" points=\"{}\"/>",
            corners.join(" ")
        ));
    }
    for (number, (_, column, (from, to))) in axes.iter().enumerate() {
        let ((x, y), (tx, ty)) = (point(number, 1.0), point(number, 1.1));
        let anchor = match tx - middle {
            d if d > 12.0 => "start",
            d if d < -12.0 => "end",
            _ => "middle",
        };
        out.push_str(&format!(
            "<line class=\"grid\" x1=\"{middle}\" y1=\"{middle}\" x2=\"{x:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{tx:.1}\" y=\"{ty:.1}\" text-anchor=\"{anchor}\"><title>{}</title>{}<tspan class=\"soft\" x=\"{tx:.1}\" dy=\"14\">{from} to {to}</tspan></text>",
            escape(&column.reading),
            escape(&column.label)
        ));
    }
    for (method, run) in runs.iter().enumerate() {
        let Some(row) = sheet
            .rows()
            .find(|row| !row.published() && row.method == run.method())
        else {
            continue;
        };
        let corners: Vec<(f64, f64)> = axes
            .iter()
            .enumerate()
            .filter_map(|(number, (at, _, (from, to)))| {
                let share = (row.cells[*at].mean?.value - from) / (to - from);
                Some(point(number, share.clamp(0.0, 1.0)))
            })
            .collect();
        let line: Vec<String> = corners.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let dots: String = corners
            .iter()
            .map(|(x, y)| format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"))
            .collect();
        out.push_str(&format!(
            "<g class=\"hue{} web\"><title>{}</title><polygon points=\"{}\"/>{dots}</g>",
            hue(method),
            escape(run.method()),
            line.join(" ")
        ));
    }
    out.push_str("</svg><figcaption class=\"note\">The axes are fixed, from the middle to the rim as written; what lies beyond an end is drawn at it. A reading that a method does not have is left out of its line.</figcaption></figure>");
    out
}

/// How each reading spreads over the cases: a hill for each method, its mean as a tick.
pub(super) fn spread(runs: &[MethodRun], sheet: &Sheet) -> String {
    let figures: String = sheet
        .columns
        .iter()
        .filter_map(|column| {
            let values: Vec<Vec<f64>> = runs
                .iter()
                .map(|run| values(run, &column.reading, sheet.subset))
                .collect();
            let any = values.iter().any(|own| !own.is_empty());
            any.then(|| {
                format!(
                    "<figure class=\"chart\">{}{}</figure>",
                    head(column),
                    hills(column, runs, &values)
                )
            })
        })
        .collect();
    format!("{}<div class=\"charts\">{figures}</div>", legend(runs))
}

fn values(run: &MethodRun, reading: &str, subset: Option<i64>) -> Vec<f64> {
    let cases = run
        .reading(reading)
        .into_iter()
        .flat_map(|own| own.cases.values());
    cases
        .filter(|case| subset.is_none_or(|subset| case.subset == subset))
        .filter_map(|case| case.value.as_ref().ok().copied())
        .collect()
}

fn hills(column: &Column, runs: &[MethodRun], values: &[Vec<f64>]) -> String {
    let all = || values.iter().flatten().copied();
    let (low, high) = (all().fold(f64::MAX, f64::min), all().fold(f64::MIN, f64::max));
    let (low, high) = match high > low {
        true => (low, high),
        false => (low - 0.5, high + 0.5),
    };
    let (width, each) = (300.0, 34.0);
    let height = each * values.len() as f64 + 20.0;
    let x = |value: f64| 4.0 + (width - 8.0) * (value - low) / (high - low);
    let mut out = format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{} over the cases\">",
        escape(&column.reading)
    );
    for (method, own) in values.iter().enumerate() {
        let floor = each * (method + 1) as f64;
        out.push_str(&format!(
            "<line class=\"grid\" x1=\"0\" x2=\"{width}\" y1=\"{floor}\" y2=\"{floor}\"/>"
        ));
        let mean = own.iter().sum::<f64>() / own.len().max(1) as f64;
        if own.is_empty() {
            continue;
        }
        let mut bins = [0usize; BINS];
        for value in own {
            let at = (value - low) / (high - low) * BINS as f64;
            bins[(at as usize).min(BINS - 1)] += 1;
        }
        let most = bins.iter().copied().max().unwrap_or(1).max(1) as f64;
        let steps: String = bins
            .iter()
            .enumerate()
            .map(|(bin, count)| {
                let from = 4.0 + (width - 8.0) * bin as f64 / BINS as f64;
                let to = 4.0 + (width - 8.0) * (bin + 1) as f64 / BINS as f64;
                let y = floor - (each - 8.0) * *count as f64 / most;
                format!("L{from:.1},{y:.1}L{to:.1},{y:.1}")
            })
            .collect();
        let shown = |value: f64| columns::shown(&column.reading, value);
        let ends = (
            own.iter().copied().fold(f64::MAX, f64::min),
            own.iter().copied().fold(f64::MIN, f64::max),
        );
        out.push_str(&format!(
            "<g class=\"hue{} hill\"><title>{}: {} cases, mean {}, from {} to {}</title><path d=\"M4,{floor}{steps}L{right:.1},{floor}Z\"/>\
             <line class=\"whisker\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top:.1}\" y2=\"{floor}\"/></g>",
            hue(method),
            escape(runs[method].method()),
            own.len(),
            shown(mean),
            shown(ends.0),
            shown(ends.1),
            right = width - 4.0,
            at = x(mean),
            top = floor - each + 6.0,
        ));
    }
    let foot = each * values.len() as f64 + 15.0;
    out.push_str(&format!(
        "<text class=\"soft\" x=\"4\" y=\"{foot}\">{}</text><text class=\"soft\" x=\"{}\" y=\"{foot}\" text-anchor=\"end\">{}</text>",
        columns::shown(&column.reading, low),
        width - 4.0,
        columns::shown(&column.reading, high)
    ));
    out.push_str("</svg>");
    out
}
