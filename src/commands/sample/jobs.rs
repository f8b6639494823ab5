//! What is to be sampled: cases of a file, rows of a selection, or the prompt that was typed.

use crate::{
    cli::SampleArgs,
    exit::{missing, usage},
};
use omni_schemas::{Case, CaseSubject, CaseUtterance};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// One clip (per seed) that is wanted.
pub struct Job {
    /// The case; its paths can be opened as they are.
    pub case: Case,
    /// Where descriptors and utterances lie in the prompt, where somebody knows: characters.
    pub spans: Option<Spans>,
}

/// Ranges of characters of the prompt.
#[derive(Debug, Clone, Default)]
pub struct Spans {
    /// By subject.
    pub descriptors: Vec<(usize, usize)>,
    /// In order.
    pub utterances: Vec<(usize, usize)>,
}

impl Job {
    fn of_case(case: Case) -> Self {
        Self { case, spans: None }
    }
}

/// Everything that is asked for.
pub fn of(args: &SampleArgs) -> anyhow::Result<Vec<Job>> {
    match (&args.case, &args.data, &args.prompt) {
        (Some(case), None, None) => from_file(case),
        (None, Some(data), None) => selected(args, data),
        (None, None, Some(prompt)) => Ok(vec![typed(args, prompt)?]),
        (None, None, None) => Err(usage("nothing to sample: give --case, --data or --prompt")),
        _ => Err(usage("--case, --data and --prompt exclude one another")),
    }
}

#[cfg(feature = "curate")]
fn selected(args: &SampleArgs, data: &str) -> anyhow::Result<Vec<Job>> {
    if !args.dry_run {
        let folder = std::path::absolute(args.out.join("references"))?;
        return super::data::jobs(data, args.from.as_deref(), &folder);
    }
    super::data::jobs(data, args.from.as_deref(), &scratch())
}

/// Where references lie during a dry run, which leaves nothing behind.
fn scratch() -> PathBuf {
    std::env::temp_dir().join(format!("omni-references-{}", std::process::id()))
}

/// Removes what a dry run wrote.
pub fn sweep() {
    let _ = std::fs::remove_dir_all(scratch());
}

#[cfg(not(feature = "curate"))]
fn selected(_: &SampleArgs, _: &str) -> anyhow::Result<Vec<Job>> {
    Err(missing(
        "--data: this `omni` was built without `curate`: build it with `cargo build --release --features curate`",
    ))
}

/// A path, and what stands behind its last colon; a file whose name has a colon is taken whole.
pub fn split(argument: &str) -> (PathBuf, Option<&str>) {
    if Path::new(argument).exists() {
        return (argument.into(), None);
    }
    match argument.rsplit_once(':') {
        Some((path, id)) if !path.is_empty() => (path.into(), Some(id)),
        _ => (argument.into(), None),
    }
}

fn from_file(argument: &str) -> anyhow::Result<Vec<Job>> {
    let (path, id) = split(argument);
    if !path.is_file() {
        return Err(missing(format!(
            "--case {argument}: there is no file {}",
            path.display()
        )));
    }
    let cases = read(&std::path::absolute(&path)?)?;
    let names: Vec<String> = cases.iter().map(|case| case.case.clone()).collect();
    let chosen: Vec<Job> = cases
        .into_iter()
        .filter(|case| id.is_none_or(|id| id == case.case))
        .map(Job::of_case)
        .collect();
    match (chosen.is_empty(), id) {
        (false, _) => Ok(chosen),
        (true, None) => Err(usage(format!("{} holds no case", path.display()))),
        (true, Some(id)) => {
            let near = omni_pipeline::nearest(id, names.iter().map(String::as_str));
            let hint = near
                .map(|name| format!(" (did you mean `{name}`?)"))
                .unwrap_or_default();
            Err(usage(format!("{} holds no case `{id}`{hint}", path.display())))
        }
    }
}

#[cfg(feature = "bench")]
fn read(path: &Path) -> anyhow::Result<Vec<Case>> {
    use omni_bench::cases::CaseError;
    let found = omni_bench::cases::read(path).map_err(|error| match error {
        CaseError::Format(_) => usage(error.to_string()),
        other => other.into(),
    })?;
    if let Some(fault) = found.faults.first() {
        // files that are not there are another matter than a case that is wrong
        let gone = found
            .faults
            .iter()
            .all(|fault| fault.message.starts_with("there is no file "));
        let failure = if gone { missing } else { usage };
        let more = match found.faults.len() {
            1 => String::new(),
            count => format!(" ({count} faults in all; `omni bench cases check` lists them)"),
        };
        return Err(failure(format!("{}: {fault}{more}", path.display())));
    }
    Ok(found.cases)
}

/// Without the bench: JSON lines, whose prompts and files are looked at when they are used.
#[cfg(not(feature = "bench"))]
fn read(path: &Path) -> anyhow::Result<Vec<Case>> {
    if path.extension().is_none_or(|ending| ending != "jsonl") {
        return Err(usage(format!("{}: a case file ends in .jsonl", path.display())));
    }
    let text = std::fs::read_to_string(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let mut case: Case = serde_json::from_str(line)
            .map_err(|error| usage(format!("{}, line {}: {error}", path.display(), number + 1)))?;
        let own = case
            .subjects
            .iter_mut()
            .flat_map(|subject| [&mut subject.face, &mut subject.voice]);
        for place in own.chain([&mut case.first_frame]).flatten() {
            *place = folder.join(&*place).to_string_lossy().into_owned();
        }
        if case.case.is_empty() || case.case.starts_with('.') || case.case.contains(['/', '\\']) {
            return Err(usage(format!("`{}` cannot be the name of a file", case.case)));
        }
        cases.push(case);
    }
    Ok(cases)
}

/// Anchors that a prompt names, by their number.
pub fn anchors(prompt: &str) -> BTreeSet<usize> {
    let named = prompt.split("<sub").skip(1);
    named
        .filter_map(|tail| tail.split_once('>')?.0.parse().ok())
        .collect()
}

/// A case of what was typed.
fn typed(args: &SampleArgs, prompt: &str) -> anyhow::Result<Job> {
    let named = anchors(prompt);
    let references = args.face.len().max(args.voice.len());
    if references > named.len() {
        return Err(usage(format!(
            "{} --face and {} --voice, and the prompt names {} people: put <sub1>, <sub2>... where each is described",
            args.face.len(),
            args.voice.len(),
            named.len()
        )));
    }
    let place = |path: &PathBuf| -> anyhow::Result<String> {
        if !path.is_file() {
            return Err(missing(format!("there is no file {}", path.display())));
        }
        Ok(std::path::absolute(path)?.to_string_lossy().into_owned())
    };
    let mut subjects = Vec::new();
    for (index, number) in named.iter().enumerate() {
        subjects.push(CaseSubject {
            anchor: format!("<sub{number}>"),
            face: args.face.get(index).map(&place).transpose()?,
            voice: args.voice.get(index).map(&place).transpose()?,
            visible: true,
            speaks: true,
        });
    }
    Ok(Job::of_case(Case {
        case: "prompt".to_owned(),
        subset: match subjects.len() {
            0 | 1 => 1,
            2 => 2,
            _ => 3,
        },
        prompt: prompt.to_owned(),
        audio_caption: args.audio_caption.clone(),
        first_frame: args.first_frame.as_ref().map(&place).transpose()?,
        utterances: spoken(prompt),
        subjects,
    }))
}

/// What the prompt says somebody says, by the anchor before it.
pub fn spoken(prompt: &str) -> Vec<CaseUtterance> {
    let mut out = Vec::new();
    let mut before = String::new();
    for part in prompt.split("<S>") {
        let (said, rest) = match part.split_once("<E>") {
            Some((said, rest)) => (Some(said), rest),
            None => (None, part),
        };
        if let Some(said) = said {
            let anchor = before.rfind("<sub").and_then(|at| {
                let end = before[at..].find('>')?;
                Some(before[at..=at + end].to_owned())
            });
            out.push(CaseUtterance {
                anchor: anchor.unwrap_or_default(),
                text: said.trim().to_owned(),
                language: "en".to_owned(),
            });
        }
        before.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_belongs_to_the_anchor_before_it() {
        let prompt = "A man <sub1> and a woman <sub2>. <sub2> asks, <S>Well?<E> <sub1>: <S>No.<E>";
        let said: Vec<(String, String)> = spoken(prompt)
            .into_iter()
            .map(|one| (one.anchor, one.text))
            .collect();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(said, [pair("<sub2>", "Well?"), pair("<sub1>", "No.")]);
        assert_eq!(anchors(prompt), [1, 2].into());
    }

    #[test]
    fn a_name_stands_behind_the_last_colon() {
        assert_eq!(split("a/b.jsonl:one"), ("a/b.jsonl".into(), Some("one")));
        assert_eq!(split("a/b.jsonl"), ("a/b.jsonl".into(), None));
    }
}
