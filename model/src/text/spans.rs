//! Where descriptors and utterances lie in a prompt, and among its tokens.

use super::Token;
use crate::{Error, Result, net::sa_mrope};
use std::ops::Range;

/// Byte ranges of a cleaned prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans {
    /// Each subject's descriptor, in the subjects' order.
    pub descriptors: Vec<Range<usize>>,
    /// What is said, without its marks, in order.
    pub utterances: Vec<Range<usize>>,
}

/// Finds the descriptors of `anchors` and everything between `<S>` and `<E>`.
///
/// A descriptor is the stretch around the first place of its anchor: back to the end of the sentence, anchor or utterance
/// before, on to the end of the sentence or the next anchor or utterance. Callers that know better (a curated caption does)
/// give their own. Fails on an anchor that the prompt does not name, one it names and nobody asked for, and marks that do
/// not pair.
pub fn find_spans(prompt: &str, anchors: &[&str]) -> Result<Spans> {
    let refuse = |why: String| Err(Error::Input(why));
    let utterances = utterances(prompt)?;
    for named in named(prompt) {
        if !anchors.contains(&named) {
            return refuse(format!(
                "the prompt names {named}, and no subject has that anchor"
            ));
        }
    }
    let mut descriptors = Vec::new();
    for anchor in anchors {
        let Some(at) = prompt.find(anchor) else {
            return refuse(format!("the prompt does not name {anchor}"));
        };
        descriptors.push(around(prompt, at..at + anchor.len()));
    }
    Ok(Spans {
        descriptors,
        utterances,
    })
}

/// Every `<subN>` of a prompt.
fn named(prompt: &str) -> impl Iterator<Item = &str> {
    prompt.match_indices("<sub").filter_map(|(at, _)| {
        let tail = &prompt[at..];
        let end = tail.find('>')?;
        let digits = &tail[4..end];
        (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| &tail[..=end])
    })
}

fn utterances(prompt: &str) -> Result<Vec<Range<usize>>> {
    let mut out = Vec::new();
    let mut at = 0;
    let unpaired = |mark: &str| Err(Error::Input(format!("the prompt has {mark}")));
    loop {
        let rest = &prompt[at..];
        let Some(open) = rest.find("<S>") else {
            return if rest.contains("<E>") {
                unpaired("an <E> without its <S>")
            } else {
                Ok(out)
            };
        };
        let start = open + "<S>".len();
        let Some(length) = rest[start..].find("<E>") else {
            return unpaired("an <S> without its <E>");
        };
        if rest[..open].contains("<E>") {
            return unpaired("an <E> without its <S>");
        }
        if rest[start..start + length].contains("<S>") {
            return unpaired("an <S> inside another");
        }
        out.push(at + start..at + start + length);
        at += start + length + "<E>".len();
    }
}

/// Whether a sentence ends at this character: a full stop of any script, or a bracket that structured captions use.
fn ends_sentence(c: char, next: Option<char>) -> bool {
    match c {
        '。' | '！' | '？' | '\n' | ']' => true,
        '.' | '!' | '?' => next.is_none_or(char::is_whitespace),
        _ => false,
    }
}

fn around(prompt: &str, anchor: Range<usize>) -> Range<usize> {
    let before = &prompt[..anchor.start];
    let mut start = 0;
    for (at, c) in before.char_indices() {
        let behind = at + c.len_utf8();
        let mark = c == '>' && ["<E>", "<S>"].iter().any(|mark| before[..behind].ends_with(mark));
        let anchor = c == '>'
            && named(&before[..behind])
                .last()
                .is_some_and(|name| before[..behind].ends_with(name));
        if mark || anchor || ends_sentence(c, prompt[behind..].chars().next()) {
            start = behind;
        }
    }
    let after = &prompt[anchor.end..];
    let mut end = after.len();
    for (at, c) in after.char_indices() {
        let tail = &after[at..];
        if c == '<' && (tail.starts_with("<S>") || tail.starts_with("<sub")) {
            end = at;
            break;
        }
        let behind = at + c.len_utf8();
        if ends_sentence(c, after[behind..].chars().next()) {
            end = behind;
            break;
        }
    }
    let spaces = |text: &str| text.len() - text.trim_start().len();
    start += spaces(&prompt[start..anchor.start]);
    start..anchor.end + after[..end].trim_end().len()
}

/// What a prompt loses when it is cut to the model's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// First byte that is not read.
    pub at: usize,
    /// Utterances that lose some or all of their words.
    pub utterances: Vec<usize>,
    /// Subjects whose descriptor is lost or shortened.
    pub subjects: Vec<usize>,
}

/// Spans among the tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Each subject's descriptor; `None` where it was cut off.
    pub descriptors: Vec<Option<Range<usize>>>,
    /// Each utterance's content; empty where it was cut off.
    pub utterances: Vec<Range<usize>>,
    /// What is lost, if anything.
    pub cut: Option<Cut>,
}

impl Spans {
    /// Fails on spans that are not of this prompt: out of it, inside a character, out of order, or not one for each subject.
    pub fn check(&self, prompt: &str, subjects: usize) -> Result<()> {
        let refuse = |why: String| Err(Error::Input(why));
        if self.descriptors.len() != subjects {
            let count = self.descriptors.len();
            return refuse(format!("{count} descriptors for {subjects} subjects"));
        }
        let mut all = self.descriptors.iter().chain(&self.utterances);
        if let Some(span) = all.find(|span| prompt.get((*span).clone()).is_none()) {
            return refuse(format!("{span:?} is no stretch of the prompt"));
        }
        if self.utterances.windows(2).any(|pair| pair[1].start < pair[0].end) {
            return refuse("utterances that overlap".to_owned());
        }
        Ok(())
    }

    /// Finds the spans among tokens: a token belongs to a span if it shares a character with it.
    pub fn place(&self, tokens: &[Token], cut: Option<usize>) -> Placed {
        let among = |span: &Range<usize>| {
            let shares = |token: &Token| {
                token.span.start < span.end && span.start < token.span.end && !token.span.is_empty()
            };
            let first = tokens.iter().position(shares)?;
            let count = tokens[first..].iter().take_while(|token| shares(token)).count();
            Some(first..first + count)
        };
        let lost = |spans: &[Range<usize>], at: usize| -> Vec<usize> {
            let beyond = spans.iter().enumerate().filter(|(_, span)| span.end > at);
            beyond.map(|(index, _)| index).collect()
        };
        let mut utterances: Vec<Range<usize>> = Vec::new();
        for span in &self.utterances {
            let end = utterances.last().map_or(0, |last| last.end);
            let found = among(span).unwrap_or(end..end);
            // a piece that two utterances share is the first one's
            utterances.push(found.start.max(end)..found.end.max(end));
        }
        Placed {
            descriptors: self.descriptors.iter().map(among).collect(),
            utterances,
            cut: cut.map(|at| Cut {
                at,
                utterances: lost(&self.utterances, at),
                subjects: lost(&self.descriptors, at),
            }),
        }
    }
}

impl Placed {
    /// The prompt as positions need it: sizes of the references and phonemes of each utterance in the same orders. Those of
    /// an utterance without visible text are left out.
    pub fn prompt(
        &self,
        text: usize,
        pictures: &[(usize, usize)],
        voices: &[usize],
        phonemes: &[usize],
    ) -> sa_mrope::Prompt {
        let subject = |(index, descriptor): (usize, &Option<Range<usize>>)| sa_mrope::Subject {
            descriptor: descriptor.clone(),
            picture: pictures.get(index).copied().unwrap_or_default(),
            voice: voices.get(index).copied().unwrap_or_default(),
        };
        let utterance = |(index, span): (usize, &Range<usize>)| sa_mrope::Utterance {
            span: span.clone(),
            phonemes: if span.is_empty() {
                0
            } else {
                phonemes.get(index).copied().unwrap_or_default()
            },
        };
        sa_mrope::Prompt {
            text,
            subjects: self.descriptors.iter().enumerate().map(subject).collect(),
            utterances: self.utterances.iter().enumerate().map(utterance).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPT: &str = "A quiet room. A tall man <sub1> with a beard sits. A woman <sub2> in red asks, <S>Coming?<E> <sub1> says, <S>No.<E>";

    #[test]
    fn a_descriptor_is_the_sentence_of_the_first_anchor() {
        let spans = find_spans(PROMPT, &["<sub1>", "<sub2>"]).unwrap();
        let texts: Vec<&str> = spans
            .descriptors
            .iter()
            .map(|span| &PROMPT[span.clone()])
            .collect();
        assert_eq!(
            texts,
            [
                "A tall man <sub1> with a beard sits.",
                "A woman <sub2> in red asks,"
            ]
        );
        let said: Vec<&str> = spans
            .utterances
            .iter()
            .map(|span| &PROMPT[span.clone()])
            .collect();
        assert_eq!(said, ["Coming?", "No."]);
    }

    #[test]
    fn anchors_and_marks_that_do_not_fit_are_named() {
        let said = |prompt: &str, anchors: &[&str]| find_spans(prompt, anchors).unwrap_err().to_string();
        assert!(said(PROMPT, &["<sub1>"]).contains("names <sub2>"));
        assert!(said(PROMPT, &["<sub1>", "<sub2>", "<sub3>"]).contains("does not name <sub3>"));
        for bad in ["a <S>b", "a <E>b", "<S>a <S>b<E><E>", "<S>a<E> b<E>"] {
            assert!(find_spans(bad, &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn tokens_that_share_a_character_belong_and_a_cut_names_what_is_lost() {
        let token = |span: Range<usize>| Token { id: 0, span };
        // pieces of three characters; "<S>" begins at 3, its content 6..12
        let tokens: Vec<Token> = (0..5).map(|k| token(3 * k..3 * k + 3)).collect();
        let spans = Spans {
            descriptors: vec![0..2, 13..15],
            utterances: vec![7..11],
        };
        let placed = spans.place(&tokens, None);
        assert_eq!(placed.descriptors, [Some(0..1), Some(4..5)]);
        assert_eq!(placed.utterances, [2..4]);
        let placed = spans.place(&tokens[..3], Some(9));
        assert_eq!(
            (placed.descriptors[1].clone(), placed.utterances[0].clone()),
            (None, 2..3)
        );
        assert_eq!(
            placed.cut,
            Some(Cut {
                at: 9,
                utterances: vec![0],
                subjects: vec![1]
            })
        );
    }
}
