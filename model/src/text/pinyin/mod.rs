//! Pinyin of a word with its tone as a digit, as pypinyin 0.55 reads it (style TONE3, with tone sandhi).
//!
//! `readings.txt` and `phrases.txt` are pypinyin's dictionaries (MIT; see LICENSE beside them), made by
//! `scripts/golden/pinyin.py data`.

use std::{collections::HashMap, sync::LazyLock};

/// A reading a line, then the characters whose first reading it is.
const READINGS: &str = include_str!("readings.txt");
/// A phrase a line, sorted; its readings follow where they are not those of its characters.
const PHRASES: &str = include_str!("phrases.txt");

static SINGLE: LazyLock<HashMap<char, Syllable>> = LazyLock::new(|| {
    let lines = READINGS.lines().filter_map(|line| line.split_once(' '));
    lines
        .flat_map(|(reading, characters)| characters.chars().map(|c| (c, Syllable::parse(reading))))
        .collect()
});

static WORDS: LazyLock<Vec<(&'static str, &'static str)>> = LazyLock::new(|| {
    PHRASES
        .lines()
        .map(|line| line.split_once(' ').unwrap_or((line, "")))
        .collect()
});

/// Letters, and a tone of 1 to 4; 0 is the neutral one, which is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Syllable {
    letters: &'static str,
    tone: u8,
}

impl Syllable {
    fn parse(reading: &'static str) -> Self {
        let letters = reading.trim_end_matches(|c: char| c.is_ascii_digit());
        let tone = reading[letters.len()..].parse().unwrap_or(0);
        Self { letters, tone }
    }

    fn written(self) -> String {
        match self.tone {
            0 => self.letters.to_owned(),
            tone => format!("{}{tone}", self.letters),
        }
    }

    /// A neutral syllable stays so.
    fn spoken(&mut self, tone: u8) {
        if self.tone != 0 {
            self.tone = tone;
        }
    }
}

/// All readings of single characters, each once, sorted. A neutral one without consonant or tone may be a letter of ASCII.
pub(super) fn syllables() -> impl Iterator<Item = &'static str> {
    let readings = READINGS.lines().filter_map(|line| line.split_once(' '));
    readings
        .map(|(reading, _)| reading)
        .filter(|reading| reading.len() > 1)
}

/// The reading of each character of a word; one that has none stands for itself.
pub(super) fn read(word: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let Some(known) = SINGLE.get(&first) else {
            out.push(first.to_string());
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let run = &rest[..rest.find(|c| !SINGLE.contains_key(&c)).unwrap_or(rest.len())];
        let taken = match phrase(run) {
            Some((taken, syllables)) => {
                out.extend(sandhi(taken, syllables).into_iter().map(Syllable::written));
                taken
            }
            // a run that only begins a phrase is read character by character to its end
            None if begins_phrase(run) => {
                let singles = run.chars().filter_map(|c| Some((c, *SINGLE.get(&c)?)));
                out.extend(singles.map(|(c, it)| alone(c, it).written()));
                run
            }
            None => {
                out.push(alone(first, *known).written());
                &run[..first.len_utf8()]
            }
        };
        rest = &rest[taken.len()..];
    }
    out
}

/// The longest phrase that `text` begins with, and its readings.
fn phrase(text: &str) -> Option<(&str, Vec<Syllable>)> {
    const LONGEST: usize = 10;
    let ends: Vec<usize> = text
        .char_indices()
        .map(|(at, c)| at + c.len_utf8())
        .take(LONGEST)
        .collect();
    ends.into_iter().rev().find_map(|end| {
        let part = &text[..end];
        let at = WORDS.binary_search_by(|(word, _)| (*word).cmp(part)).ok()?;
        let given = WORDS[at].1;
        let syllables = if given.is_empty() {
            part.chars().filter_map(|c| SINGLE.get(&c).copied()).collect()
        } else {
            given.split(' ').map(Syllable::parse).collect()
        };
        Some((part, syllables))
    })
}

fn begins_phrase(text: &str) -> bool {
    let at = WORDS.partition_point(|(word, _)| *word < text);
    WORDS.get(at).is_some_and(|(word, _)| word.starts_with(text))
}

fn alone(character: char, syllable: Syllable) -> Syllable {
    let word = character.encode_utf8(&mut [0; 4]).to_owned();
    sandhi(&word, vec![syllable]).first().copied().unwrap_or(syllable)
}

/// Tones as they are spoken. The rules are pypinyin's, with its turns: a run of third tones is counted at the end of the
/// phrase, and the first third tones of the phrase are those that change.
fn sandhi(phrase: &str, mut syllables: Vec<Syllable>) -> Vec<Syllable> {
    let run = syllables.iter().rev().take_while(|it| it.tone == 3).count();
    let thirds = syllables.iter_mut().filter(|it| it.tone == 3);
    for syllable in thirds.take(run.saturating_sub(1)) {
        syllable.tone = 2;
    }
    before_fourth('不', 4, phrase, &mut syllables);
    before_fourth('一', 1, phrase, &mut syllables);
    syllables
}

/// `character` is in the second tone before a fourth, at the end in its own, else in the fourth.
fn before_fourth(character: char, own: u8, phrase: &str, syllables: &mut [Syllable]) {
    for (at, _) in phrase.chars().enumerate().filter(|(_, c)| *c == character) {
        let next = syllables.get(at + 1).map(|next| next.tone);
        let Some(syllable) = syllables.get_mut(at) else {
            continue;
        };
        match next {
            None => syllable.spoken(own),
            // only what stands in the fourth changes
            Some(4) if syllable.tone == 4 => syllable.tone = 2,
            Some(4) => {}
            Some(_) => syllable.spoken(4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_decide_between_readings() {
        assert_eq!(read("重庆").join(" "), "chong2 qing4");
        assert_eq!(read("重要").join(" "), "zhong4 yao4");
        assert_eq!(read("女儿").join(" "), "nv3 er2");
        assert_eq!(read("好了ㄅ").join(" "), "hao3 le ㄅ");
    }

    #[test]
    fn tones_change_as_they_are_spoken() {
        assert_eq!(read("你好").join(" "), "ni2 hao3");
        assert_eq!(read("蒙古语").join(" "), "meng2 gu2 yu3");
        assert_eq!(read("不是").join(" "), "bu2 shi4");
        assert_eq!(read("一般").join(" "), "yi4 ban1");
        assert_eq!(read("一").join(" "), "yi1");
    }

    #[test]
    fn the_data_are_as_the_reader_takes_them() {
        assert!(WORDS.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(WORDS.iter().map(|(word, _)| word.chars().count()).max(), Some(10));
        for (word, readings) in WORDS.iter() {
            let count = readings.split_whitespace().count();
            assert!(count == 0 || count == word.chars().count(), "{word}");
            assert!(word.chars().all(|c| SINGLE.contains_key(&c)), "{word}");
        }
        assert!(SINGLE.values().all(|it| it.tone < 5 && !it.letters.is_empty()));
    }
}
