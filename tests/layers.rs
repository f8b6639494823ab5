//! Crates depend downward only, and each heavy dependency lives in one crate.

use std::{collections::BTreeMap, path::Path};

/// Crate folder -> the crates of ours it may use.
const EDGES: &[(&str, &[&str])] = &[
    ("schemas", &[]),
    ("manifests", &["schemas"]),
    ("media", &[]),
    ("net", &[]),
    ("loopback", &[]),
    ("pipeline", &["schemas", "manifests"]),
    ("perception", &["media", "net"]),
    (
        "curate",
        &["schemas", "manifests", "media", "net", "pipeline", "perception"],
    ),
    ("model", &[]),
    (
        "bench",
        &["schemas", "manifests", "media", "pipeline", "perception"],
    ),
    (
        ".",
        &[
            "schemas",
            "manifests",
            "media",
            "net",
            "loopback",
            "pipeline",
            "perception",
            "curate",
            "bench",
            "model",
        ],
    ),
];

/// Heavy dependency -> the one crate that may name it (rayon: two, since `model` has its own kernels and no pipeline).
const OWNERS: &[(&str, &[&str])] = &[
    ("polars", &["manifests"]),
    ("ffmpeg-next", &["media"]),
    ("symphonia", &["media"]),
    ("rubato", &["media"]),
    ("image", &["media"]),
    ("reqwest", &["net"]),
    ("tokio", &["net"]),
    ("rayon", &["pipeline", "model"]),
    ("ort", &["perception"]),
    ("candle-core", &["model"]),
    ("gemm", &["model"]),
    ("clap", &["."]),
    ("indicatif", &["."]),
];

fn manifest(folder: &str) -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join("Cargo.toml");
    toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Names under `[dependencies]` (and of every target), without dev-dependencies.
fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut collect = |table: Option<&toml::Value>| {
        names.extend(
            table
                .and_then(toml::Value::as_table)
                .into_iter()
                .flat_map(|table| table.keys().cloned()),
        );
    };
    collect(manifest.get("dependencies"));
    collect(manifest.get("build-dependencies"));
    for target in manifest
        .get("target")
        .and_then(toml::Value::as_table)
        .into_iter()
        .flat_map(|table| table.values())
    {
        collect(target.get("dependencies"));
    }
    names
}

#[test]
fn every_edge_is_in_the_table() {
    let root = manifest(".");
    let members = root["workspace"]["members"].as_array().unwrap();
    let folders: Vec<&str> = members
        .iter()
        .map(|member| member.as_str().unwrap())
        .chain(["."])
        .collect();
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    for folder in folders {
        let allowed = allowed
            .get(folder)
            .unwrap_or_else(|| panic!("`{folder}` is not in the table of layers"));
        for name in dependencies(&manifest(folder)) {
            if let Some(ours) = name.strip_prefix("omni-") {
                assert!(allowed.contains(&ours), "`{folder}` must not depend on `{ours}`");
            }
        }
    }
}

#[test]
fn heavy_dependencies_have_one_owner() {
    for (folder, _) in EDGES {
        for name in dependencies(&manifest(folder)) {
            if let Some((_, owners)) = OWNERS.iter().find(|(heavy, _)| *heavy == name) {
                assert!(owners.contains(folder), "`{name}` belongs to {owners:?}");
            }
        }
    }
}
