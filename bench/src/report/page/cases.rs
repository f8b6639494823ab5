//! The data of the list of cases: their readings, and of as many as have room what the readings were made from.

use super::{hue, place};
use crate::report::{
    run::{CaseOf, Clip, MethodRun},
    sheet::Sheet,
};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Bytes of details that go into a page; the chosen cases come first, then by name. `omni bench why` tells the rest.
const ROOM: usize = 24 << 20;
/// Metrics whose details the page draws.
const DRAWN: &[&str] = &["face", "av_offset", "sync", "wer", "t_sim"];

/// As JSON that can stand inside a `<script>`.
pub(super) fn data(
    runs: &[MethodRun],
    sheet: &Sheet,
    chosen: &[String],
    folder: &Path,
    lacks: &mut Vec<String>,
) -> String {
    let names: BTreeSet<&String> = runs
        .iter()
        .flat_map(|run| run.cases.iter())
        .filter(|(_, one)| sheet.subset.is_none_or(|subset| one.case.subset == subset))
        .map(|(name, _)| name)
        .collect();
    let mut room = ROOM;
    let order = chosen.iter().filter(|name| names.contains(name));
    let order = order.chain(names.iter().copied().filter(|name| !chosen.contains(name)));
    let mut cases = Vec::new();
    let mut bare = 0usize;
    for name in order {
        let details = details(runs, name);
        let size: usize = details
            .iter()
            .flatten()
            .map(|detail| detail.to_string().len())
            .sum();
        let fits = size <= room;
        match fits {
            true => room -= size,
            false => bare += 1,
        }
        cases.push(case(runs, sheet, name, folder, fits.then_some(details)));
    }
    if bare > 0 {
        lacks.push(format!(
            "the details of {bare} of {} cases have no room in the page; `omni bench why` tells them",
            names.len()
        ));
    }
    cases.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    let methods: Vec<Value> = runs
        .iter()
        .enumerate()
        .map(|(number, run)| json!({ "name": run.method(), "hue": hue(number) }))
        .collect();
    let columns: Vec<Value> = sheet
        .columns
        .iter()
        .map(|column| json!({ "reading": column.reading, "label": column.label, "networks": column.networks, "unit": column.unit, "better": column.better }))
        .collect();
    let all = json!({ "methods": methods, "columns": columns, "cases": cases });
    // Inside a script no text may end it, and these two are line ends to older parsers.
    all.to_string()
        .replace('<', "\\u003c")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// Of each run, the details of each clip.
fn details(runs: &[MethodRun], name: &str) -> Vec<Vec<Value>> {
    let of = |clip: &Clip| {
        let own = DRAWN.iter().filter_map(|metric| {
            let detail = clip.details.get(*metric)?;
            Some(((*metric).to_owned(), detail.clone()))
        });
        Value::Object(own.collect::<Map<String, Value>>())
    };
    runs.iter()
        .map(|run| {
            let clips = run.cases.get(name).map(|one| &one.clips);
            clips.into_iter().flatten().map(of).collect()
        })
        .collect()
}

fn case(
    runs: &[MethodRun],
    sheet: &Sheet,
    name: &str,
    folder: &Path,
    details: Option<Vec<Vec<Value>>>,
) -> Value {
    let any = runs.iter().find_map(|run| run.cases.get(name));
    let absolute = |path: &Path| -> PathBuf { std::path::absolute(path).unwrap_or_else(|_| path.to_owned()) };
    let to = |path: &Path| place::link(folder, &absolute(path));
    let of = |number: usize, run: &MethodRun| {
        let one: Option<&CaseOf> = run.cases.get(name);
        let values: Vec<Value> = sheet
            .columns
            .iter()
            .map(
                |column| match run.reading(&column.reading).and_then(|own| own.cases.get(name)) {
                    Some(found) => match &found.value {
                        Ok(value) => json!(value),
                        Err(word) => json!(word),
                    },
                    None => Value::Null,
                },
            )
            .collect();
        let clips: Vec<Value> = one
            .map(|one| one.clips.as_slice())
            .unwrap_or_default()
            .iter()
            .enumerate()
            .map(|(n, clip)| {
                let mut row = json!({ "name": clip.generation, "seed": clip.seed });
                if clip.media.is_file() {
                    row["media"] = to(&clip.media).into();
                }
                if let Some(detail) = details.as_ref().and_then(|all| all.get(number)?.get(n)) {
                    row["detail"] = detail.clone();
                }
                row
            })
            .collect();
        json!({ "values": values, "clips": clips, "there": one.is_some() })
    };
    let subjects: Vec<Value> = any
        .map(|one| one.case.subjects.as_slice())
        .unwrap_or_default()
        .iter()
        .map(|subject| {
            let link = |path: &Option<String>| path.as_deref().map(|path| to(Path::new(path)));
            json!({ "anchor": subject.anchor, "face": link(&subject.face), "voice": link(&subject.voice), "visible": subject.visible, "speaks": subject.speaks })
        })
        .collect();
    json!({
        "name": name,
        "subset": any.map(|one| one.case.subset),
        "prompt": any.map(|one| one.case.prompt.clone()),
        "said": any.map(|one| one.case.utterances.iter().map(|said| json!([said.anchor, said.text, said.language])).collect::<Vec<_>>()),
        "subjects": subjects,
        "methods": runs.iter().enumerate().map(|(number, run)| of(number, run)).collect::<Vec<_>>(),
    })
}
