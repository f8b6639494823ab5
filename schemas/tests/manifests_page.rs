//! The columns in docs/manifests.md are those of the records. `OMNI_BLESS=1` writes them anew.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use omni_schemas::{ALL, Column, Kind};
use std::{fs, path::Path};

/// The name of a type; what nests is listed below it.
fn called(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::I64 => "integer".to_owned(),
        Kind::F64 => "float".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Struct(_) => "struct".to_owned(),
        Kind::List(inner) => match inner.as_ref() {
            Kind::Struct(_) => "list".to_owned(),
            inner => format!("list of {}", called(inner)),
        },
    }
}

/// The description as a cell: marks such as `<sub1>` would be taken for HTML.
fn cell(about: &str) -> String {
    let word = |word: &str| match word.starts_with('<') && word.ends_with('>') {
        true => format!("`{word}`"),
        false => word.to_owned(),
    };
    about.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn rows(columns: &[Column], below: &str, out: &mut String) {
    for column in columns {
        let name = format!("{below}{}", column.name);
        let (kind, about) = (called(&column.kind), cell(column.about));
        out.push_str(&format!("| `{name}` | {kind} | {about} |\n"));
        match &column.kind {
            Kind::Struct(fields) => rows(fields, &format!("{name}."), out),
            Kind::List(inner) => {
                if let Kind::Struct(fields) = inner.as_ref() {
                    rows(fields, &format!("{name}[]."), out);
                }
            }
            _ => {}
        }
    }
}

/// The page with every table, and the version in the line above it, as the records say.
fn renewed(page: &str) -> String {
    let mut out = String::new();
    let mut record = None;
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            record = ALL.iter().find(|(name, ..)| *name == heading);
        }
        match record {
            Some((_, version, _)) if line.starts_with("Made by ") => {
                let (before, _) = line.rsplit_once("version ").unwrap();
                out.push_str(&format!("{before}version {version}.\n"));
            }
            Some((_, _, columns)) if line == "| --- | --- | --- |" => {
                out.push_str(&format!("{line}\n"));
                rows(&columns(), "", &mut out);
            }
            Some(_) if line.starts_with("| `") => {}
            _ => out.push_str(&format!("{line}\n")),
        }
    }
    out
}

#[test]
fn the_page_on_manifests_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/manifests.md");
    let page = fs::read_to_string(&path).unwrap();
    let renewed = renewed(&page);
    if std::env::var_os("OMNI_BLESS").is_some() {
        fs::write(&path, &renewed).unwrap();
        return;
    }
    assert!(
        page == renewed,
        "docs/manifests.md is stale; run this test with OMNI_BLESS=1"
    );
    for (name, ..) in ALL {
        let heading = format!("\n## {name}\n");
        let (_, section) = page
            .split_once(&heading)
            .unwrap_or_else(|| panic!("no section `{name}`"));
        let section = section.split("\n## ").next().unwrap();
        assert!(
            section.contains("; version ") && section.contains("| --- | --- | --- |"),
            "{name}"
        );
    }
}

#[test]
fn another_column_makes_the_page_stale() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/manifests.md");
    let page = fs::read_to_string(path).unwrap();
    let without = page.replacen("| `clip` | text | key of the clip |\n", "", 1);
    assert!(without != page && renewed(&without) != without);
    let older = page.replacen("; version 1.", "; version 0.", 1);
    assert!(older != page && renewed(&older) == page);
}
