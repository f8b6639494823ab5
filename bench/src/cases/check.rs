//! What must hold of a case before anything is run with it.

use std::{collections::BTreeSet, path::Path};

use omni_perception::audio::tokenizer::languages;
use omni_schemas::Case;

/// Longest name of a case in bytes: it becomes the name of a file.
const NAME: usize = 200;

/// Everything that is wrong with a case whose paths are relative to `folder`; empty for a sound one.
pub fn faults(case: &Case, folder: &Path) -> Vec<String> {
    let mut out = Vec::new();
    name(case, &mut out);
    subjects(case, &mut out);
    prompt(case, &mut out);
    utterances(case, &mut out);
    files(case, folder, &mut out);
    out
}

fn name(case: &Case, out: &mut Vec<String>) {
    let plain = |c: char| !c.is_control() && !matches!(c, '/' | '\\');
    let name = &case.case;
    if name.is_empty() || name.len() > NAME || name.starts_with('.') || !name.chars().all(plain) {
        out.push(format!("`{name}` cannot be the name of a file"));
    }
    if !(1..=3).contains(&case.subset) {
        out.push(format!("subset {} is none of 1, 2, 3", case.subset));
    }
}

fn subjects(case: &Case, out: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for subject in &case.subjects {
        let anchor = &subject.anchor;
        if !is_anchor(anchor) {
            out.push(format!("`{anchor}` is no anchor such as <sub1>"));
        } else if !seen.insert(anchor) {
            out.push(format!("{anchor} is two subjects"));
        }
        let speaks = case
            .utterances
            .iter()
            .any(|utterance| utterance.anchor == *anchor);
        if speaks && !subject.speaks {
            out.push(format!("{anchor} is silent and has an utterance"));
        }
        if !subject.visible && !subject.speaks {
            out.push(format!("{anchor} is neither to be seen nor to be heard"));
        }
    }
    if case.subset == 1 && case.subjects.len() > 1 {
        out.push(format!(
            "subset 1 is for one subject, here are {}",
            case.subjects.len()
        ));
    }
}

/// `<sub` and a number from 1.
fn is_anchor(text: &str) -> bool {
    let number = text.strip_prefix("<sub").and_then(|rest| rest.strip_suffix('>'));
    number.is_some_and(|number| !number.starts_with(['0', '+']) && number.parse::<u32>().is_ok())
}

fn prompt(case: &Case, out: &mut Vec<String>) {
    let said = match spoken(&case.prompt) {
        Ok(said) => said,
        Err(message) => return out.push(message),
    };
    for anchor in anchors(&case.prompt) {
        if !case.subjects.iter().any(|subject| subject.anchor == anchor) {
            out.push(format!(
                "the prompt names {anchor}, and no subject has that anchor"
            ));
        }
    }
    let script: Vec<&str> = case
        .utterances
        .iter()
        .map(|utterance| utterance.text.trim())
        .collect();
    if said.len() != script.len() {
        out.push(format!(
            "the prompt holds {} utterances, the list {}",
            said.len(),
            script.len()
        ));
    } else if let Some(i) = (0..said.len()).find(|&i| said[i].trim() != script[i]) {
        out.push(format!(
            "utterance {} is `{}` in the prompt and `{}` in the list",
            i + 1,
            said[i].trim(),
            script[i]
        ));
    }
}

/// What stands between `<S>` and `<E>`, in order.
pub(super) fn spoken(prompt: &str) -> Result<Vec<&str>, String> {
    let mut out = Vec::new();
    let mut rest = prompt;
    while let Some((before, after)) = rest.split_once("<S>") {
        if before.contains("<E>") {
            return Err("an <E> without its <S>".to_owned());
        }
        let (text, behind) = after.split_once("<E>").ok_or("an <S> without its <E>")?;
        if text.contains("<S>") {
            return Err("an <S> inside another".to_owned());
        }
        out.push(text);
        rest = behind;
    }
    match rest.contains("<E>") {
        true => Err("an <E> without its <S>".to_owned()),
        false => Ok(out),
    }
}

/// Every `<subN>` of a prompt, once each, in order.
pub(super) fn anchors(prompt: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for (at, _) in prompt.match_indices("<sub") {
        let end = prompt[at..].find('>').map_or(prompt.len(), |end| at + end + 1);
        let anchor = prompt[at..end].to_owned();
        if is_anchor(&anchor) && !out.contains(&anchor) {
            out.push(anchor);
        }
    }
    out
}

fn utterances(case: &Case, out: &mut Vec<String>) {
    for utterance in &case.utterances {
        if !case
            .subjects
            .iter()
            .any(|subject| subject.anchor == utterance.anchor)
        {
            out.push(format!(
                "{} speaks, and no subject has that anchor",
                utterance.anchor
            ));
        }
        if utterance.text.trim().is_empty() {
            out.push(format!("{} says nothing", utterance.anchor));
        }
        if !languages().any(|code| code == utterance.language) {
            out.push(format!(
                "`{}` is no language code of Whisper's",
                utterance.language
            ));
        }
    }
}

fn files(case: &Case, folder: &Path, out: &mut Vec<String>) {
    let own = case
        .subjects
        .iter()
        .flat_map(|subject| [&subject.face, &subject.voice]);
    for path in own.chain([&case.first_frame]).flatten() {
        if !folder.join(path).is_file() {
            out.push(format!("there is no file {path}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_schemas::{CaseSubject, CaseUtterance};

    fn dialogue() -> Case {
        let subject = |anchor: &str| CaseSubject {
            anchor: anchor.into(),
            visible: true,
            speaks: true,
            ..CaseSubject::default()
        };
        let say = |anchor: &str, text: &str| CaseUtterance {
            anchor: anchor.into(),
            text: text.into(),
            language: "en".into(),
        };
        Case {
            case: "two".into(),
            subset: 2,
            prompt: "<sub1> asks, <S>Why?<E> <sub2> says, <S>Because.<E>".into(),
            subjects: vec![subject("<sub1>"), subject("<sub2>")],
            utterances: vec![say("<sub1>", "Why?"), say("<sub2>", "Because.")],
            ..Case::default()
        }
    }

    fn wrong(change: impl Fn(&mut Case)) -> String {
        let mut case = dialogue();
        change(&mut case);
        faults(&case, Path::new("/")).join("; ")
    }

    #[test]
    fn a_sound_case_has_no_fault() {
        assert_eq!(wrong(|_| ()), "");
        assert_eq!(
            wrong(|case| case.subjects[0].visible = false),
            "",
            "an off-screen speaker"
        );
    }

    #[test]
    fn each_fault_is_named() {
        let open = |prompt: &str| wrong(|case| case.prompt = prompt.into());
        assert_eq!(open("<sub1> <S>Why?"), "an <S> without its <E>");
        assert_eq!(open("<S>Why?<E> <E> <S>Because.<E>"), "an <E> without its <S>");
        assert_eq!(open("<S>Why? <S>Because.<E>"), "an <S> inside another");
        assert!(open("<sub3> <S>Why?<E> <S>Because.<E>").contains("names <sub3>"));
        assert!(open("<S>Why?<E>").contains("1 utterances, the list 2"));
        assert!(open("<S>Who?<E> <S>Because.<E>").contains("utterance 1 is `Who?`"));
        assert!(wrong(|case| case.utterances[0].anchor = "<sub9>".into()).contains("<sub9> speaks"));
        assert!(wrong(|case| case.utterances[0].language = "klingon".into()).contains("klingon"));
        assert!(wrong(|case| case.subjects[1].anchor = "<sub1>".into()).contains("two subjects"));
        assert!(wrong(|case| case.subjects[1].anchor = "<sub01>".into()).contains("no anchor"));
        assert!(wrong(|case| case.subjects[0].speaks = false).contains("silent"));
        assert!(wrong(|case| case.subjects[0].face = Some("x.png".into())).contains("no file x.png"));
        assert!(wrong(|case| case.case = "../a".into()).contains("name of a file"));
        assert!(wrong(|case| case.subset = 4).contains("subset 4"));
        assert!(wrong(|case| case.subset = 1).contains("one subject"));
    }
}
