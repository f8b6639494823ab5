//! Text for turns: the sound of one speaker is joined, written down in one go, and mapped back.
//!
//! Whisper pads every call to 30 s, so pieces are not decoded one by one.

use super::diarize::Turn;
use super::whisper::{Recognizer, TimedText, TranscribeOptions, Transcription};
use super::{RATE, Stretch, seconds};
use crate::Error;

/// Silence between joined pieces, in seconds.
const GAP: f64 = 0.3;
/// A recording of one speaker up to this long is decoded whole, in seconds.
const WHOLE: f64 = 30.0;

/// Pieces of a wave one after the other, and the way back to the wave's own time.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// The joined 16 kHz wave.
    pub wave: Vec<f32>,
    /// Where each piece lies in the joined wave.
    pub placed: Vec<Stretch>,
    /// Where each piece came from.
    pub source: Vec<Stretch>,
}

impl Joined {
    /// Joins stretches of a 16 kHz wave with `gap` seconds of silence between them.
    pub fn new(wave: &[f32], stretches: &[Stretch], gap: f64) -> Self {
        let silence = (gap.max(0.0) * f64::from(RATE)).round() as usize;
        let mut out = Joined {
            wave: Vec::new(),
            placed: Vec::new(),
            source: Vec::new(),
        };
        for stretch in stretches {
            if !out.placed.is_empty() {
                out.wave.resize(out.wave.len() + silence, 0.0);
            }
            let start = seconds(&out.wave);
            out.wave.extend_from_slice(stretch.of(wave));
            out.placed.push(Stretch {
                start,
                end: seconds(&out.wave),
            });
            out.source.push(*stretch);
        }
        out
    }

    /// The wave's own time of a moment in the joined wave; moments in a gap are the end of the piece before.
    pub fn to_source(&self, t: f64) -> f64 {
        let piece = self.placed.partition_point(|p| p.start <= t).saturating_sub(1);
        match (self.placed.get(piece), self.source.get(piece)) {
            (Some(placed), Some(source)) => (source.start + (t - placed.start).max(0.0)).min(source.end),
            _ => t,
        }
    }
}

/// Words in one piece.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// Which piece.
    pub piece: usize,
    /// First moment, within the piece.
    pub start: f64,
    /// Last moment, within the piece.
    pub end: f64,
    /// The words.
    pub text: String,
}

/// Shares a segment's words among the pieces it touches, in order, none twice and none lost.
///
/// Words are taken to be spoken at an even pace (by characters) over the touched part of the pieces. A
/// segment that touches none goes whole to the nearest piece. Pieces are in order and apart.
pub fn share(segment: &TimedText, pieces: &[Stretch]) -> Vec<Share> {
    let whole = Stretch {
        start: segment.start,
        end: segment.end,
    };
    let clip = |p: &Stretch| Stretch {
        start: whole.start.max(p.start),
        end: whole.end.min(p.end),
    };
    let touched: Vec<usize> = (0..pieces.len())
        .filter(|i| pieces[*i].overlap(&whole) > 0.0)
        .collect();
    if touched.is_empty() {
        let apart = |p: &Stretch| (p.start - whole.end).max(whole.start - p.end);
        let nearest = (0..pieces.len()).min_by(|a, b| apart(&pieces[*a]).total_cmp(&apart(&pieces[*b])));
        let give = |piece: usize| Share {
            piece,
            start: pieces[piece].start,
            end: pieces[piece].end,
            text: segment.text.clone(),
        };
        return nearest.map(give).into_iter().collect();
    }
    let parts: Vec<Stretch> = touched.iter().map(|i| clip(&pieces[*i])).collect();
    let texts = spread(&segment.text, &parts);
    let all = touched.into_iter().zip(parts).zip(texts);
    all.map(|((piece, part), text)| Share {
        piece,
        start: part.start,
        end: part.end,
        text,
    })
    .filter(|share| !share.text.is_empty())
    .collect()
}

/// One text per part: each word goes where its middle falls.
fn spread(text: &str, parts: &[Stretch]) -> Vec<String> {
    let units: Vec<&str> = if parts.len() == 1 { vec![text] } else { units(text) };
    let length: usize = units.iter().map(|u| u.chars().count()).sum();
    let total: f64 = parts.iter().map(Stretch::seconds).sum();
    let mut out = vec![String::new(); parts.len()];
    let mut spoken = 0.0;
    for unit in units {
        let size = unit.chars().count() as f64;
        let mut moment = (spoken + size / 2.0) / length.max(1) as f64 * total;
        spoken += size;
        let mut part = 0;
        while part + 1 < parts.len() && moment > parts[part].seconds() {
            moment -= parts[part].seconds();
            part += 1;
        }
        out[part].push_str(unit);
    }
    out.iter().map(|text| text.trim().to_owned()).collect()
}

/// Words with the space before them; single characters where a script has no spaces.
fn units(text: &str) -> Vec<&str> {
    let mut out: Vec<&str> = Vec::new();
    let mut from = 0;
    let mut previous = ' ';
    for (i, c) in text.char_indices() {
        let spaceless = |c: char| matches!(c as u32, 0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3040..=0x30FF | 0x3400..=0x9FFF);
        if i > from && ((c == ' ' && previous != ' ') || (spaceless(c) && spaceless(previous))) {
            out.push(&text[from..i]);
            from = i;
        }
        previous = c;
    }
    out.push(&text[from..]);
    out.retain(|unit| !unit.is_empty());
    out
}

/// What one speaker says in one turn.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct TurnText {
    /// The turn's speaker.
    pub speaker: usize,
    /// Seconds from the recording's start.
    pub start: f64,
    /// Seconds from the recording's start.
    pub end: f64,
    /// The words; never empty.
    pub text: String,
    /// Whisper's language code, heard per speaker when none is given.
    pub language: String,
    /// The text began to repeat itself and was cut there.
    pub looped: bool,
}

/// Writes down what is said in each turn, in order of time. Turns without words are left out.
///
/// One call per speaker (one in all for a recording of one speaker of at most 30 s, which is heard whole),
/// more where a speaker speaks for longer than 30 s.
///
/// # Errors
/// As [`Recognizer::transcribe`].
pub fn transcribe_turns(
    recognizer: &Recognizer,
    wave: &[f32],
    turns: &[Turn],
    language: Option<&str>,
    go_on: &dyn Fn() -> bool,
) -> Result<Vec<TurnText>, Error> {
    let options = TranscribeOptions {
        language: language.map(str::to_owned),
        timestamps: true,
    };
    let speakers = turns.iter().map(|turn| turn.speaker + 1).max().unwrap_or(0);
    let mut out = Vec::new();
    for speaker in 0..speakers {
        let own: Vec<Stretch> = turns
            .iter()
            .filter(|t| t.speaker == speaker)
            .map(Turn::stretch)
            .collect();
        if own.is_empty() {
            continue;
        }
        let joined = if speakers == 1 && seconds(wave) <= WHOLE {
            Joined {
                wave: wave.to_vec(),
                placed: own.clone(),
                source: own,
            }
        } else {
            Joined::new(wave, &own, GAP)
        };
        let heard = recognizer.transcribe(&joined.wave, &options, go_on)?;
        out.extend(attach(speaker, &heard, &joined));
    }
    out.sort_by(|a, b| a.start.total_cmp(&b.start));
    Ok(out)
}

/// The words of a transcription in the pieces they belong to, in the recording's own time.
fn attach(speaker: usize, heard: &Transcription, joined: &Joined) -> Vec<TurnText> {
    let mut out = Vec::new();
    for segment in &heard.segments {
        for share in share(segment, &joined.placed) {
            let (placed, source) = (joined.placed[share.piece], joined.source[share.piece]);
            let back = |t: f64| (source.start + t - placed.start).clamp(source.start, source.end);
            out.push(TurnText {
                speaker,
                start: back(share.start),
                end: back(share.end),
                text: share.text,
                language: heard.language.clone(),
                looped: segment.looped,
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timed(start: f64, end: f64, text: &str) -> TimedText {
        TimedText {
            start,
            end,
            text: text.into(),
            avg_logprob: 0.0,
            no_speech: 0.0,
            looped: false,
        }
    }

    fn stretch(start: f64, end: f64) -> Stretch {
        Stretch { start, end }
    }

    #[test]
    fn joined_pieces_find_their_way_back() {
        let wave: Vec<f32> = (0..160_000).map(|n| n as f32).collect();
        let joined = Joined::new(&wave, &[stretch(1.0, 2.0), stretch(5.0, 7.0)], 0.5);
        assert_eq!(joined.wave.len(), 56_000);
        assert_eq!(joined.wave[24_000], 80_000.0);
        assert_eq!(joined.to_source(0.25), 1.25);
        assert_eq!(joined.to_source(1.2), 2.0);
        assert_eq!(joined.to_source(2.0), 5.5);
        assert_eq!(joined.to_source(99.0), 7.0);
    }

    #[test]
    fn words_go_to_the_piece_in_which_they_fall() {
        let pieces = [stretch(0.0, 1.0), stretch(2.0, 3.0)];
        let got = share(&timed(0.0, 3.0, "one two six ten"), &pieces);
        assert_eq!(
            got.iter().map(|s| s.text.as_str()).collect::<Vec<_>>(),
            ["one two", "six ten"]
        );
        assert_eq!((got[1].start, got[1].end), (2.0, 3.0));
        let far = share(&timed(8.0, 9.0, "late"), &pieces);
        assert_eq!((far.len(), far[0].piece), (1, 1));
        assert!(share(&timed(0.0, 1.0, "nobody"), &[]).is_empty());
    }

    proptest! {
        #[test]
        fn no_word_is_lost_or_doubled(
            words in proptest::collection::vec("[a-z]{1,8}", 1..12),
            cuts in proptest::collection::vec(0.1f64..2.0, 2..9),
            start in 0.0f64..6.0,
            length in 0.1f64..9.0,
        ) {
            let mut at = 0.0;
            let mut pieces = Vec::new();
            for pair in cuts.chunks_exact(2) {
                pieces.push(stretch(at + pair[0], at + pair[0] + pair[1]));
                at += pair[0] + pair[1];
            }
            let text = words.join(" ");
            let got = share(&timed(start, start + length, &text), &pieces);
            prop_assert_eq!(got.iter().map(|s| s.text.as_str()).collect::<Vec<_>>().join(" "), text);
            for s in &got {
                prop_assert!(pieces[s.piece].start <= s.start && s.start <= s.end && s.end <= pieces[s.piece].end);
            }
        }

        #[test]
        fn units_of_any_text_join_back(text in "\\PC{0,20}") {
            prop_assert_eq!(units(&text).concat(), text);
        }
    }
}
