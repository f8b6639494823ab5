//! Where two texts differ: what made an error rate, for whoever asks why. The rate itself is not made here.

use serde::Serialize;

/// Cells of the largest table; longer texts (about 2,000 words against 2,000) get no pieces.
const MOST: usize = 4 << 20;

/// A stretch in which script and transcript are alike, or differ in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// `same`, `sub`, `del` (only in the script) or `ins` (only heard).
    pub op: &'static str,
    /// Words of the script.
    pub script: String,
    /// Words that were heard.
    pub heard: String,
}

/// The pieces of one shortest alignment: from the end, equal before substituted before deleted before inserted. Stretches
/// of one kind are joined. `None` for texts that are too long for it.
pub fn pieces(script: &[String], heard: &[String]) -> Option<Vec<Piece>> {
    let (n, m) = (script.len(), heard.len());
    if (n + 1).checked_mul(m + 1)? > MOST {
        return None;
    }
    let cost = table(script, heard);
    let at = |i: usize, j: usize| cost[i * (m + 1) + j];
    let mut steps: Vec<(&'static str, Option<&String>, Option<&String>)> = Vec::new();
    let (mut i, mut j) = (n, m);
    while i > 0 || j > 0 {
        let change = i > 0 && j > 0 && script[i - 1] != heard[j - 1];
        if i > 0 && j > 0 && at(i, j) == at(i - 1, j - 1) + u32::from(change) {
            let op = if change { "sub" } else { "same" };
            steps.push((op, Some(&script[i - 1]), Some(&heard[j - 1])));
            (i, j) = (i - 1, j - 1);
        } else if i > 0 && at(i, j) == at(i - 1, j) + 1 {
            steps.push(("del", Some(&script[i - 1]), None));
            i -= 1;
        } else {
            steps.push(("ins", None, Some(&heard[j - 1])));
            j -= 1;
        }
    }
    steps.reverse();
    Some(joined(&steps))
}

/// Edit distances of all beginnings, row by row.
fn table(script: &[String], heard: &[String]) -> Vec<u32> {
    let (n, m) = (script.len(), heard.len());
    let width = m + 1;
    let mut cost = vec![0u32; (n + 1) * width];
    for i in 0..=n {
        for j in 0..=m {
            cost[i * width + j] = match (i, j) {
                (0, j) => j as u32,
                (i, 0) => i as u32,
                _ => {
                    let change = u32::from(script[i - 1] != heard[j - 1]);
                    let diagonal = cost[(i - 1) * width + j - 1] + change;
                    diagonal
                        .min(cost[(i - 1) * width + j] + 1)
                        .min(cost[i * width + j - 1] + 1)
                }
            };
        }
    }
    cost
}

fn joined(steps: &[(&'static str, Option<&String>, Option<&String>)]) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::new();
    for (op, script, heard) in steps {
        if out.last().is_none_or(|piece| piece.op != *op) {
            out.push(Piece {
                op,
                script: String::new(),
                heard: String::new(),
            });
        }
        if let Some(piece) = out.last_mut() {
            append(&mut piece.script, *script);
            append(&mut piece.heard, *heard);
        }
    }
    out
}

fn append(text: &mut String, word: Option<&String>) {
    if let Some(word) = word {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_perception::text::edits;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn stretches_say_what_became_of_what() {
        let pieces = pieces(
            &words("lay red with p nine again"),
            &words("lay red p nine once more"),
        )
        .unwrap();
        let said: Vec<_> = pieces
            .iter()
            .map(|piece| (piece.op, piece.script.as_str(), piece.heard.as_str()))
            .collect();
        assert_eq!(
            said,
            [
                ("same", "lay red", "lay red"),
                ("del", "with", ""),
                ("same", "p nine", "p nine"),
                ("ins", "", "once"),
                ("sub", "again", "more"),
            ]
        );
        assert_eq!(super::pieces(&[], &[]), Some(vec![]));
        let long = vec![String::from("a"); 3000];
        assert_eq!(super::pieces(&long, &long), None);
    }

    proptest! {
        #[test]
        fn as_many_changes_as_the_error_rate_counts(a in "[abc ]{0,30}", b in "[abc ]{0,30}") {
            let (script, heard) = (words(&a), words(&b));
            let pieces = pieces(&script, &heard).unwrap();
            let length = |piece: &Piece| words(&piece.script).len().max(words(&piece.heard).len());
            let changes: usize = pieces.iter().filter(|piece| piece.op != "same").map(length).sum();
            prop_assert_eq!(changes, edits(&script, &heard).total());
            let back = |of: fn(&Piece) -> &String| pieces.iter().flat_map(|piece| words(of(piece))).collect::<Vec<_>>();
            prop_assert_eq!(back(|piece| &piece.script), script);
            prop_assert_eq!(back(|piece| &piece.heard), heard);
        }
    }
}
