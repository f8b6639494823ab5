//! The list as a Markdown page for people (`docs/models.md`).

use std::fmt::Write;

use super::list::Registry;
use super::spec::{ModelKind, ModelSpec};

/// The whole page: profiles, networks, libraries. The same list gives the same text.
pub fn markdown(registry: &Registry) -> String {
    let mut page = String::from(HEAD);
    profiles(registry, &mut page);
    for (title, kind) in [
        ("Networks", ModelKind::Network),
        ("Run-time libraries", ModelKind::Library),
    ] {
        let _ = write!(page, "\n## {title}\n\n{COLUMNS}");
        for spec in registry.specs().iter().filter(|spec| spec.kind == kind) {
            row(spec, &mut page);
        }
    }
    page.push_str(FOOT);
    page.push_str(PAPER);
    page
}

const HEAD: &str = "# Networks\n\n\
    Written from `perception/models.toml` by a test; change that file, not this one.\n\n\
    A profile picks one network per role. `open` is the default and permissive; `research` and `paper`\n\
    hold weights for non-commercial use, which `omni models pull` asks about.\n";
const COLUMNS: &str = "| id | role | source | size | download | licence of the package | licence of the weights | input | output | threshold | run here |\n\
    | --- | --- | --- | ---: | ---: | --- | --- | --- | --- | --- | --- |\n";
const FOOT: &str = "\n`never` under \"run here\": nobody has run that entry with real weights in this project, so no number of\n\
    ours comes from it. `NC`: non-commercial use only. `download`: what comes over the network, the whole package where\n    there is one; a package that serves several networks is fetched once. A size of `?` belongs to files that are not published\n\
    ready-made: bring your own with `omni models pull ID --from DIR`; their hash is recorded then. `@main` is a branch of a hub, of\n\
    which nobody here has seen the files: `omni models pull ID` takes what lies there that day and records its hash.\n";

/// How the networks come about that are published as checkpoints only.
const PAPER: &str = include_str!("paper.md");

fn profiles(registry: &Registry, page: &mut String) {
    let all = registry.profiles();
    let mut roles: Vec<&String> = all.iter().flat_map(|profile| profile.roles.keys()).collect();
    roles.sort();
    roles.dedup();
    let names: Vec<&str> = all.iter().map(|profile| profile.name.as_str()).collect();
    let _ = write!(
        page,
        "\n## Profiles\n\n| role | {} |\n|{}\n",
        names.join(" | "),
        " --- |".repeat(names.len() + 1)
    );
    for role in roles {
        let ids = all
            .iter()
            .map(|profile| profile.roles.get(role).map_or("—", String::as_str));
        let _ = writeln!(page, "| {role} | {} |", ids.collect::<Vec<_>>().join(" | "));
    }
}

fn row(spec: &ModelSpec, page: &mut String) {
    let id = spec
        .arch
        .as_ref()
        .map_or(spec.id.clone(), |arch| format!("{} ({arch})", spec.id));
    let licence = &spec.licence;
    let weights = if licence.non_commercial {
        format!("NC: {}", licence.weights)
    } else {
        licence.weights.clone()
    };
    let weights = licence
        .note
        .as_ref()
        .map_or(weights.clone(), |note| format!("{weights} ({note})"));
    let threshold = spec.threshold.map_or(String::new(), |value| {
        spec.threshold_of
            .as_ref()
            .map_or(value.to_string(), |of| format!("{value}: {of}"))
    });
    let source = spec.source.describe();
    let cells = [
        &id,
        &spec.role,
        &source,
        &size(spec.bytes()),
        &size(spec.download_bytes()),
        &licence.package,
        &weights,
        &spec.input,
        &spec.output,
        &threshold,
    ];
    let run = if spec.run_here { "yes" } else { "never" };
    let cells: Vec<String> = cells.into_iter().map(|cell| cell.replace('|', "\\|")).collect();
    let _ = writeln!(page, "| {} | {run} |", cells.join(" | "));
}

fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "?".to_owned(), |bytes| format!("{:.1} MB", bytes as f64 / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares `docs/models.md` with the list; `OMNI_BLESS=1` writes it.
    #[test]
    fn docs_table_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/models.md");
        let page = markdown(&Registry::builtin());
        if std::env::var_os("OMNI_BLESS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap();
        assert!(
            stored == page,
            "docs/models.md is old: run this test with OMNI_BLESS=1"
        );
    }

    #[test]
    fn a_bar_in_a_cell_does_not_split_it() {
        let text = "[[network]]\nid = \"a\"\nrole = \"r\"\ninput = \"x|y\"\noutput = \"\"\n\
            source = { kind = \"file\", origin = \"o\" }\nlicence = { package = \"p\", weights = \"w\", non_commercial = true }\n\
            files = [{ name = \"f\", sha256 = \"unpublished\" }]\n";
        let page = markdown(&Registry::from_toml(text, "t").unwrap());
        assert!(page.contains("| x\\|y |"), "{page}");
        assert!(page.contains("| ? | ? | p | NC: w |"), "{page}");
    }
}
