//! Drawing equally often from every language and trait, in an order that a seed decides.

use super::{Settings, Subset, Trait, candidate::Candidate};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Clips that are alike in what is balanced: subset, languages, traits.
type Kind = (Subset, Vec<String>, Vec<Trait>);
/// A clip's place in the order of its kind; the clip's name makes it unique.
type Place = ([u8; 32], String);

/// The first clips of every kind, by the hash of seed and clip; no more of a kind than a subset takes.
pub(super) struct Kinds {
    settings: Settings,
    kinds: BTreeMap<Kind, BTreeMap<Place, Candidate>>,
}

impl Kinds {
    pub fn new(settings: Settings) -> Kinds {
        Kinds {
            settings,
            kinds: BTreeMap::new(),
        }
    }

    /// Whether the clip could be drawn, as far as can be told by now.
    pub fn wants(&self, candidate: &Candidate) -> bool {
        let Some(own) = self.kinds.get(&kind(candidate)) else {
            return true;
        };
        let last = own.last_key_value().map(|(place, _)| place);
        own.len() < self.settings.per_subset || last.is_some_and(|last| self.place(candidate) < *last)
    }

    pub fn keep(&mut self, candidate: Candidate) {
        let place = self.place(&candidate);
        let own = self.kinds.entry(kind(&candidate)).or_default();
        own.insert(place, candidate);
        if own.len() > self.settings.per_subset {
            own.pop_last();
        }
    }

    fn place(&self, candidate: &Candidate) -> Place {
        let mut hash = Sha256::new();
        hash.update(self.settings.seed.to_le_bytes());
        hash.update(candidate.clip.as_bytes());
        (hash.finalize().into(), candidate.clip.clone())
    }

    /// The cases of all subsets; as many of each as there are, up to the number wanted.
    pub fn choose(mut self) -> Vec<Candidate> {
        let mut out = Vec::new();
        for subset in Subset::ALL {
            let mut tally = Tally::default();
            for _ in 0..self.settings.per_subset {
                let own = self
                    .kinds
                    .iter()
                    .filter(|((of, ..), left)| *of == subset && !left.is_empty());
                // Of kinds that are equally rare so far, the one whose next clip comes first.
                let rarest = own.min_by_key(|(kind, left)| {
                    (
                        tally.cost(kind),
                        left.first_key_value().map(|(place, _)| place.clone()),
                    )
                });
                let Some(kind) = rarest.map(|(kind, _)| kind.clone()) else {
                    break;
                };
                tally.count(&kind);
                let next = self.kinds.get_mut(&kind).and_then(BTreeMap::pop_first);
                out.extend(next.map(|(_, candidate)| candidate));
            }
        }
        out
    }
}

fn kind(candidate: &Candidate) -> Kind {
    (
        candidate.subset,
        candidate.languages.clone(),
        candidate.traits.clone(),
    )
}

/// How often each language and trait was drawn.
#[derive(Default)]
struct Tally {
    languages: BTreeMap<String, usize>,
    traits: BTreeMap<Trait, usize>,
}

impl Tally {
    /// How common the commonest language and the commonest trait of a kind are already.
    fn cost(&self, (_, languages, traits): &Kind) -> usize {
        let language = languages.iter().filter_map(|one| self.languages.get(one)).max();
        let own = traits.iter().filter_map(|one| self.traits.get(one)).max();
        language.unwrap_or(&0) + own.unwrap_or(&0)
    }

    fn count(&mut self, (_, languages, traits): &Kind) {
        languages
            .iter()
            .for_each(|one| *self.languages.entry(one.clone()).or_default() += 1);
        traits
            .iter()
            .for_each(|one| *self.traits.entry(*one).or_default() += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_schemas::Case;

    fn candidate(clip: &str, subset: Subset, languages: &[&str], traits: &[Trait]) -> Candidate {
        Candidate {
            clip: clip.into(),
            case: Case::default(),
            subset,
            languages: languages.iter().map(|one| (*one).to_owned()).collect(),
            traits: traits.to_vec(),
            faces: BTreeMap::new(),
            voices: BTreeMap::new(),
            face_vectors: Vec::new(),
            voice_vectors: Vec::new(),
        }
    }

    fn drawn(all: &[Candidate], per_subset: usize, seed: u64) -> Vec<Candidate> {
        let mut kinds = Kinds::new(Settings { per_subset, seed });
        for one in all {
            if kinds.wants(one) {
                kinds.keep(one.clone());
            }
        }
        kinds.choose()
    }

    #[test]
    fn rare_languages_and_traits_come_as_often_as_common_ones() {
        let mut all: Vec<Candidate> = (0..200)
            .map(|i| candidate(&format!("en{i}"), Subset::Single, &["en"], &[]))
            .collect();
        all.extend((0..5).map(|i| candidate(&format!("zh{i}"), Subset::Single, &["zh"], &[])));
        all.extend(
            (0..100).map(|i| candidate(&format!("off{i}"), Subset::Complex, &["en"], &[Trait::OffScreen])),
        );
        all.extend((0..9).map(|i| candidate(&format!("sil{i}"), Subset::Complex, &["en"], &[Trait::Silent])));
        let cases = drawn(&all, 10, 7);
        let of = |language: &str, subset: Subset| {
            let own = cases.iter().filter(|one| one.subset == subset);
            own.filter(|one| one.languages == [language]).count()
        };
        assert_eq!((of("en", Subset::Single), of("zh", Subset::Single)), (5, 5));
        let silent = cases.iter().filter(|one| one.traits == [Trait::Silent]).count();
        assert_eq!((silent, of("en", Subset::Complex)), (5, 10));
    }

    #[test]
    fn the_order_of_the_clips_changes_nothing_and_the_seed_does() {
        let all: Vec<Candidate> = (0..300)
            .map(|i| candidate(&format!("c{i}"), Subset::Dialogue, &["en"], &[]))
            .collect();
        let names = |all: &[Candidate], seed| -> Vec<String> {
            drawn(all, 20, seed).into_iter().map(|one| one.clip).collect()
        };
        let mut turned = all.clone();
        turned.reverse();
        assert_eq!(names(&all, 7), names(&turned, 7));
        assert_eq!(names(&all, 7).len(), 20);
        assert_ne!(names(&all, 7), names(&all, 8));
    }
}
