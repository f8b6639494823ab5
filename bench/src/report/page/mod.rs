//! The report as one page: tables, charts, strips of pictures and every case, with style, script and data inside. It
//! loads nothing but the clips, pictures and voices beside it, by relative links.

mod cases;
mod charts;
mod place;
mod strip;
mod table;

use super::{
    run::MethodRun,
    sheet::Sheet,
    text::{PUBLISHED, notes},
};
use std::{collections::BTreeSet, path::Path};

const CSS: &str = include_str!("assets/page.css");
const SCRIPT: &str = include_str!("assets/page.js");
/// Colours there are; further methods take them again.
const HUES: usize = 8;

/// What is shown.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// The folder that the page will lie in, absolute; links start there.
    pub folder: &'a Path,
    /// The cases whose pictures are shown; without any, the first of each subset.
    pub cases: &'a [String],
}

/// The page, and what could not be shown on it.
#[derive(Clone, Debug)]
pub struct Page {
    /// The page.
    pub html: String,
    /// Cases and clips that could not be shown, a sentence each.
    pub lacks: Vec<String>,
}

/// Makes the page of these runs and tables; the first sheet is the one over all cases (or the chosen subset).
pub fn render(runs: &[MethodRun], sheets: &[Sheet], ablation: Option<&Sheet>, options: &Options<'_>) -> Page {
    let mut lacks = Vec::new();
    let first = &sheets[..1];
    let mut main = String::new();
    section(&mut main, "results", "Results", &results(runs, sheets, ablation));
    section(&mut main, "subsets", "By subset", &charts::bars(runs, sheets));
    section(&mut main, "radar", "At a glance", &charts::radar(runs, &first[0]));
    section(
        &mut main,
        "spread",
        "Spread over the cases",
        &charts::spread(runs, &first[0]),
    );
    let chosen = chosen(runs, options.cases);
    section(
        &mut main,
        "strips",
        "Side by side",
        &strip::strips(runs, &chosen, &mut lacks),
    );
    section(&mut main, "cases", "Cases", CASES);
    section(&mut main, "made", "How it was made", &made(runs));
    let data = cases::data(runs, &first[0], &chosen, options.folder, &mut lacks);
    let names: Vec<&str> = runs.iter().map(MethodRun::method).collect();
    let title = format!("OC-Bench: {}", escape(&names.join(", ")));
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
         img-src 'self' file: data:; media-src 'self' file:; connect-src 'none'; base-uri 'none'; form-action 'none'\">\n\
         <title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n{CSS}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#results\">Skip to the results</a>\n\
         <header class=\"top\"><h1>OC-Bench <span>{}</span></h1><nav aria-label=\"Parts\">{NAV}</nav>\
         <button id=\"theme\" class=\"quiet\" type=\"button\">Dark</button></header>\n\
         <main>\n{}{main}</main>\n\
         <script type=\"application/json\" id=\"data\">{data}</script>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        escape(&names.join(", ")),
        warnings(runs),
    );
    Page { html, lacks }
}

const NAV: &str = "<a href=\"#results\">Results</a> <a href=\"#subsets\">Subsets</a> <a href=\"#radar\">Glance</a> \
    <a href=\"#spread\">Spread</a> <a href=\"#strips\">Pictures</a> <a href=\"#cases\">Cases</a> <a href=\"#made\">Made</a>";

const CASES: &str = "<div class=\"tools\"><label class=\"field\">Search <input id=\"search\" type=\"search\" autocomplete=\"off\" \
    spellcheck=\"false\" placeholder=\"case, prompt or words\"></label>\
    <label class=\"field\">Subset <select id=\"subset\"></select></label>\
    <label class=\"field\">Sort by <select id=\"sort\"></select></label>\
    <span id=\"shown\" role=\"status\"></span></div>\
    <div class=\"scroll\"><table id=\"list\" class=\"list\"></table></div><button id=\"more\" type=\"button\" class=\"quiet\" hidden>Show more</button>\
    <div id=\"case\" tabindex=\"-1\" hidden></div><noscript><p class=\"note\">The list of cases needs JavaScript; all else does not.</p></noscript>";

fn section(out: &mut String, id: &str, title: &str, body: &str) {
    out.push_str(&format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-title\"><h2 id=\"{id}-title\">{title}</h2>\n{body}\n</section>\n"
    ));
}

fn warnings(runs: &[MethodRun]) -> String {
    let said = notes(runs)
        .into_iter()
        .filter(|note| note.starts_with("warning: "));
    said.map(|note| {
        format!(
            "<p class=\"banner\" role=\"note\">{}</p>\n",
            escape(&note["warning: ".len()..])
        )
    })
    .collect()
}

fn results(runs: &[MethodRun], sheets: &[Sheet], ablation: Option<&Sheet>) -> String {
    let mut out = String::new();
    for (number, sheet) in sheets.iter().enumerate() {
        match number {
            0 => out.push_str(&table::table(runs, sheet)),
            _ => out.push_str(&format!(
                "<details><summary>{}</summary>{}</details>\n",
                escape(&sheet.title),
                table::table(runs, sheet)
            )),
        }
    }
    if let Some(sheet) = ablation {
        out.push_str(&format!(
            "<h3>{}</h3>{}",
            escape(&sheet.title),
            table::table(runs, sheet)
        ));
    }
    let beside = sheets
        .iter()
        .chain(ablation)
        .any(|sheet| sheet.rows().any(|row| row.published()));
    out.push_str(
        "<p class=\"note\">Each cell: mean, 95 % interval (percentile bootstrap over cases, 2,000 resamples, seed 7), cases with a value of all cases. \
         <b>Best</b> and <u>second best</u> are of our own rows. A dash: the paradigm or the profile does not have the reading.</p>\n",
    );
    if beside {
        out.push_str(&format!(
            "<p class=\"note\">Rows marked <span class=\"chip\">{PUBLISHED}</span> are the paper's own numbers, made by a protocol that was not published; they are shown, not ranked.</p>\n"
        ));
    }
    out
}

/// The cases asked for, else of each subset the first that every method has a clip of, or the first.
fn chosen(runs: &[MethodRun], asked: &[String]) -> Vec<String> {
    if !asked.is_empty() {
        let has = |case: &&String| runs.iter().any(|run| run.cases.contains_key(*case));
        return asked.iter().filter(has).cloned().collect();
    }
    let subsets: BTreeSet<i64> = runs
        .iter()
        .flat_map(|run| run.cases.values().map(|one| one.case.subset))
        .collect();
    let first = |subset: i64| {
        let of = || runs.iter().flat_map(|run| run.cases.values());
        let names = || {
            of().filter(move |one| one.case.subset == subset)
                .map(|one| &one.case.case)
        };
        let whole = |name: &&String| runs.iter().all(|run| has_clip(run, name));
        names().find(whole).or_else(|| names().next()).cloned()
    };
    subsets.into_iter().filter_map(first).collect()
}

fn has_clip(run: &MethodRun, case: &str) -> bool {
    let clip = run.cases.get(case).and_then(|one| one.clips.first());
    clip.is_some_and(|clip| clip.media.is_file())
}

/// Networks, hashes and versions of every run, and what never ran.
fn made(runs: &[MethodRun]) -> String {
    let mut out = String::new();
    let unseen: BTreeSet<_> = runs.iter().flat_map(|run| &run.header.unseen_roles).collect();
    if !unseen.is_empty() {
        let roles: Vec<String> = unseen
            .iter()
            .map(|one| format!("{} ({})", escape(&one.role), escape(&one.id)))
            .collect();
        out.push_str(&format!(
            "<p class=\"banner\" id=\"unseen\">Never run with real weights, neither in this project nor in these runs: {}.</p>\n",
            roles.join(", ")
        ));
    }
    for (number, run) in runs.iter().enumerate() {
        let header = &run.header;
        let list = |rows: Vec<[String; 3]>, headings: [&str; 3]| -> String {
            let rows: String = rows
                .iter()
                .map(|row| {
                    format!(
                        "<tr><td>{}</td><td>{}</td><td class=\"hash\">{}</td></tr>",
                        escape(&row[0]),
                        escape(&row[1]),
                        escape(&row[2])
                    )
                })
                .collect();
            format!(
                "<table><thead><tr><th>{}</th><th>{}</th><th>{}</th></tr></thead><tbody>{rows}</tbody></table>",
                headings[0], headings[1], headings[2]
            )
        };
        let networks = header.networks.iter().map(|network| {
            let files: Vec<String> = network
                .files
                .iter()
                .map(|file| format!("{} {}", file.name, file.sha256))
                .collect();
            let paper = if network.of_paper { " (the paper's)" } else { "" };
            [
                network.role.clone(),
                format!("{}{paper}", network.id),
                files.join("; "),
            ]
        });
        let metrics = header.metrics.iter().map(|metric| {
            let readings: Vec<&str> = metric.readings.iter().map(|one| one.name.as_str()).collect();
            [
                metric.metric.clone(),
                metric.version.to_string(),
                readings.join(", "),
            ]
        });
        let left = header
            .left_out
            .iter()
            .map(|one| [one.metric.clone(), one.absent.clone(), one.why.clone()]);
        let not: String = match header.not_applicable.is_empty() {
            true => String::new(),
            false => format!(
                "<p class=\"note\">Not applicable to this paradigm: {}.</p>",
                escape(&header.not_applicable.join(", "))
            ),
        };
        let left: String = match header.left_out.is_empty() {
            true => String::new(),
            false => list(left.collect(), ["not measured", "because", ""]),
        };
        out.push_str(&format!(
            "<details class=\"hue{}\"{}><summary><b class=\"dot\"></b> {}</summary><p class=\"note\">Profile {}, paradigm {}, omni {}, {}, on {}; {} cases, case file sha256 <span class=\"hash\">{}</span>.</p>{}{}{left}{not}</details>\n",
            hue(number),
            if runs.len() == 1 { " open" } else { "" },
            escape(run.method()),
            escape(&header.profile),
            escape(header.paradigm.name()),
            escape(&header.omni_version),
            escape(&header.decoder),
            escape(&header.device),
            run.cases.len(),
            escape(&header.cases.sha256),
            list(networks.collect(), ["role", "network", "files and sha256"]),
            list(metrics.collect(), ["metric", "version", "readings"]),
        ));
    }
    out
}

/// The colour of a method, from 1.
fn hue(number: usize) -> usize {
    number % HUES + 1
}

/// Text inside HTML, attributes included.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
