//! From the tokens of one 30 s window to segments, and how far to go on (openai/whisper `transcribe.py`).

use std::io::Write;

/// Seconds per timestamp token.
pub const TIME: f64 = 0.02;
/// Repetitions of one group of tokens that count as a loop.
const LOOPS: usize = 4;
/// Longest group of tokens looked at.
const GROUP: usize = 24;

/// Tokens between two timestamps; seconds from the window's start.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// First moment.
    pub start: f64,
    /// Last moment.
    pub end: f64,
    /// Text tokens.
    pub tokens: Vec<u32>,
}

/// Cuts a window's tokens at its timestamps. Returns the pieces and the seconds to go on by.
///
/// `length` is the sound in the window in seconds; `begin` the first timestamp token; `last` says that no
/// sound follows this window: then an unfinished piece ends with the sound instead of being heard again.
pub fn cut(tokens: &[u32], begin: u32, length: f64, last: bool) -> (Vec<Piece>, f64) {
    let is_time = |i: usize| tokens.get(i).is_some_and(|t| *t >= begin);
    let seconds = |token: u32| (f64::from(token.saturating_sub(begin)) * TIME).min(length);
    let mut ends: Vec<usize> = (1..tokens.len())
        .filter(|i| is_time(i - 1) && is_time(*i))
        .collect();
    let closed = tokens.len() >= 2 && is_time(tokens.len() - 1) && !is_time(tokens.len() - 2);
    if ends.is_empty() {
        let final_time = tokens
            .iter()
            .rev()
            .find(|t| **t > begin)
            .map_or(length, |t| seconds(*t));
        let start = tokens
            .first()
            .filter(|t| **t >= begin)
            .map_or(0.0, |t| seconds(*t))
            .min(final_time);
        return (vec![piece(tokens, begin, start, final_time)], length);
    }
    let open = !closed && ends.last().is_some_and(|e| *e < tokens.len());
    let resume = ends
        .last()
        .and_then(|e| tokens.get(e - 1))
        .map_or(length, |t| seconds(*t));
    if closed || (open && last) {
        ends.push(tokens.len());
    }
    let mut from = 0;
    let mut out = Vec::new();
    for end in ends {
        let part = &tokens[from..end];
        let stop = part
            .last()
            .filter(|t| **t >= begin)
            .map_or(length, |t| seconds(*t));
        let start = part.first().filter(|t| **t >= begin).map_or(0.0, |t| seconds(*t));
        out.push(piece(part, begin, start.min(stop), stop));
        from = end;
    }
    let whole = closed || last || resume < 1.0;
    (out, if whole { length } else { resume })
}

fn piece(tokens: &[u32], begin: u32, start: f64, end: f64) -> Piece {
    Piece {
        start,
        end,
        tokens: tokens.iter().copied().filter(|t| *t < begin).collect(),
    }
}

/// How many tokens to keep when the text has begun to repeat itself: up to the end of the first round.
/// Timestamps between the repetitions do not hide them. `None` while it does not repeat.
pub fn loop_start(tokens: &[u32], begin: u32) -> Option<usize> {
    let text: Vec<(usize, u32)> = tokens
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, t)| *t < begin)
        .collect();
    for size in 1..=GROUP.min(text.len() / (LOOPS + 1)) {
        let rounds = text.rchunks_exact(size);
        let mut rounds = rounds.map(|round| round.iter().map(|(_, t)| t));
        let Some(model) = rounds.next() else { continue };
        let repeated = rounds.take_while(|round| round.clone().eq(model.clone())).count();
        let needed = if size == 1 { 2 * LOOPS } else { LOOPS };
        if repeated >= needed {
            let kept = text.len() - repeated * size;
            return text.get(kept.wrapping_sub(1)).map(|(i, _)| i + 1);
        }
    }
    None
}

/// Bytes of a text over bytes of its zlib stream: above 2.4 it says the same again and again.
pub fn compression_ratio(text: &str) -> f64 {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    // Writing to memory does not fail; an empty stream would only make the ratio large.
    let packed = encoder
        .write_all(text.as_bytes())
        .and_then(|()| encoder.finish())
        .unwrap_or_default();
    text.len() as f64 / packed.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const B: u32 = 1000;

    #[test]
    fn pairs_of_timestamps_part_segments() {
        let tokens = [B, 1, 2, B + 50, B + 50, 3, B + 100, B + 100, 4];
        let (pieces, step) = cut(&tokens, B, 30.0, false);
        let got: Vec<_> = pieces.iter().map(|p| (p.start, p.end, p.tokens.len())).collect();
        assert_eq!(got, [(0.0, 1.0, 2), (1.0, 2.0, 1)]);
        assert_eq!(step, 2.0);
        let (pieces, step) = cut(&tokens, B, 5.0, true);
        assert_eq!(
            (pieces.len(), pieces[2].start, pieces[2].end, step),
            (3, 2.0, 5.0, 5.0)
        );
    }

    #[test]
    fn a_single_last_timestamp_ends_the_window() {
        let (pieces, step) = cut(&[B, 1, B + 10, B + 10, 2, B + 90], B, 30.0, false);
        assert_eq!((pieces.len(), step), (2, 30.0));
        let (pieces, step) = cut(&[B, 1, B + 10], B, 30.0, false);
        assert_eq!((pieces[0].end, step), (0.2, 30.0));
        let (pieces, _) = cut(&[1, 2], B, 3.0, false);
        assert_eq!((pieces[0].start, pieces[0].end), (0.0, 3.0));
    }

    #[test]
    fn loops_are_cut_after_the_first_round() {
        let mut tokens = vec![B, 7, 8];
        for i in 0..5 {
            tokens.extend([1, 2, 3, B + i, B + i]);
        }
        assert_eq!(loop_start(&tokens, B), Some(6));
        assert_eq!(loop_start(&[1, 2, 3, 4, 5, 1, 2, 3], B), None);
        assert_eq!(loop_start(&[9; 9], B), Some(1));
        assert_eq!(loop_start(&[9; 6], B), None);
    }

    #[test]
    fn ratios_are_those_of_zlib_to_a_byte() {
        // Another implementation of the same format may find a match that is one byte longer or shorter.
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/whisper/tokenizer.json"
        );
        let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for case in golden["compression_ratio"].as_array().unwrap() {
            let (text, expected) = (case["text"].as_str().unwrap(), case["ratio"].as_f64().unwrap());
            let bytes = text.len() as f64;
            let apart = bytes / compression_ratio(text) - bytes / expected;
            assert!(apart.abs() < 1.5, "{case}: {apart} bytes");
        }
    }

    proptest! {
        #[test]
        fn cutting_loses_no_text(tokens in proptest::collection::vec(prop_oneof![0u32..5, B..B + 1500], 0..40)) {
            let (pieces, step) = cut(&tokens, B, 30.0, true);
            let text: Vec<u32> = pieces.iter().flat_map(|p| p.tokens.clone()).collect();
            prop_assert_eq!(text, tokens.iter().copied().filter(|t| *t < B).collect::<Vec<_>>());
            prop_assert!(pieces.iter().all(|p| p.start <= p.end && p.end <= 30.0));
            prop_assert!(step > 0.0);
        }
    }
}
