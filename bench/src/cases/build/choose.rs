//! Drawing equally often from every language and trait, in an order that a seed decides.

use super::{Settings, Subset, Trait, candidate::Candidate, people::People};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Clips that are alike in what is balanced: subset, languages, traits.
type Kind = (Subset, Vec<String>, Vec<Trait>);
/// A clip's place in the order of its kind; the clip's name makes it unique.
type Place = ([u8; 32], String);

/// The first clips of one kind that a reading of the run has found, by the hash of seed and clip.
#[derive(Default)]
struct Kept {
    clips: BTreeMap<Place, Candidate>,
    /// Whether there were more than are kept.
    more: bool,
}

/// Draws the cases in several readings of a run. In each, the first clips of every kind are kept, no more of a kind than a
/// subset takes, and none with somebody who is in a case already; when those of the rarest kind are used up and the run
/// has more, it is read again. When nobody new is left, a last reading takes people who are in a case already.
pub(super) struct Kinds {
    settings: Settings,
    kinds: BTreeMap<Kind, Kept>,
    tallies: BTreeMap<Subset, Tally>,
    people: People,
    drawn: Vec<Candidate>,
    clips: BTreeSet<String>,
    reuse: bool,
    reused: BTreeMap<i64, usize>,
}

impl Kinds {
    pub fn new(settings: Settings) -> Kinds {
        Kinds {
            settings,
            kinds: BTreeMap::new(),
            tallies: BTreeMap::new(),
            people: People::default(),
            drawn: Vec::new(),
            clips: BTreeSet::new(),
            reuse: false,
            reused: BTreeMap::new(),
        }
    }

    /// Whether the clip could be drawn, as far as can be told by now.
    pub fn wants(&mut self, candidate: &Candidate) -> bool {
        if self.clips.contains(&candidate.clip) || (!self.reuse && self.people.meet(candidate)) {
            return false;
        }
        let place = self.place(candidate);
        let Some(own) = self.kinds.get_mut(&kind(candidate)) else {
            return true;
        };
        let last = own.clips.last_key_value().map(|(place, _)| place);
        let wanted = own.clips.len() < self.settings.per_subset || last.is_some_and(|last| place < *last);
        own.more |= !wanted;
        wanted
    }

    pub fn keep(&mut self, candidate: Candidate) {
        let place = self.place(&candidate);
        let own = self.kinds.entry(kind(&candidate)).or_default();
        own.clips.insert(place, candidate);
        if own.clips.len() > self.settings.per_subset {
            own.clips.pop_last();
            own.more = true;
        }
    }

    fn place(&self, candidate: &Candidate) -> Place {
        let mut hash = Sha256::new();
        hash.update(self.settings.seed.to_le_bytes());
        hash.update(candidate.clip.as_bytes());
        (hash.finalize().into(), candidate.clip.clone())
    }

    /// Draws from what the last reading kept. Whether the run should be read once more.
    pub fn draw(&mut self) -> bool {
        let before = self.drawn.len();
        for subset in Subset::ALL {
            while self.count(subset) < self.settings.per_subset && self.next(subset) {}
        }
        let more = self.kinds.values().any(|kept| kept.more);
        self.kinds.clear();
        let full = Subset::ALL
            .iter()
            .all(|subset| self.count(*subset) >= self.settings.per_subset);
        match self.reuse || full {
            true => false,
            false => {
                self.reuse = !more || self.drawn.len() == before;
                true
            }
        }
    }

    /// Draws one case of a subset, or lays one aside whose people came in meanwhile; `false` when nothing is kept of the
    /// kind whose turn it is.
    fn next(&mut self, subset: Subset) -> bool {
        let tally = self.tallies.entry(subset).or_default();
        let own = self
            .kinds
            .iter()
            .filter(|((of, ..), kept)| *of == subset && (kept.more || !kept.clips.is_empty()));
        // Of kinds that are equally rare so far, the one whose next clip comes first.
        let rarest = own.min_by_key(|(kind, kept)| {
            let next = kept.clips.first_key_value().map(|(place, _)| place.clone());
            (tally.cost(kind), next)
        });
        let Some(kind) = rarest.map(|(kind, _)| kind.clone()) else {
            return false;
        };
        let kept = self.kinds.get_mut(&kind).map(|kept| &mut kept.clips);
        let Some((_, candidate)) = kept.and_then(BTreeMap::pop_first) else {
            return false;
        };
        let met = self.people.meet(&candidate);
        if met && !self.reuse {
            return true;
        }
        if met {
            *self.reused.entry(subset.number()).or_default() += 1;
        }
        tally.count(&kind);
        self.people.add(&candidate);
        self.clips.insert(candidate.clip.clone());
        self.drawn.push(candidate);
        true
    }

    fn count(&self, subset: Subset) -> usize {
        self.drawn.iter().filter(|one| one.subset == subset).count()
    }

    /// The cases of all subsets, and by subset how many show or let speak somebody of another case.
    pub fn finish(mut self) -> (Vec<Candidate>, BTreeMap<i64, usize>) {
        self.drawn.sort_by_key(|one| one.subset);
        (self.drawn, self.reused)
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

    fn drawn(all: &[Candidate], per_subset: usize, seed: u64) -> (Vec<Candidate>, usize) {
        let mut kinds = Kinds::new(Settings {
            per_subset,
            seed,
            first_frames: false,
        });
        loop {
            for one in all {
                if kinds.wants(one) {
                    kinds.keep(one.clone());
                }
            }
            if !kinds.draw() {
                let (cases, reused) = kinds.finish();
                return (cases, reused.values().sum());
            }
        }
    }

    /// With the face of person `who` of a thousand.
    fn shows(mut candidate: Candidate, who: usize) -> Candidate {
        let values = (0..1000).map(|i| f32::from(u8::from(i == who))).collect();
        candidate.face_vectors.push(vec![super::super::candidate::Vector {
            network: "sface_2021dec#0".into(),
            values,
        }]);
        candidate
    }

    #[test]
    fn nobody_is_in_two_cases_while_there_is_somebody_else() {
        // One person is in most clips; twelve others are in two each, of one kind or of two.
        let mut all: Vec<Candidate> = (0..200)
            .map(|i| shows(candidate(&format!("star{i}"), Subset::Single, &["en"], &[]), 0))
            .collect();
        for who in 1..13 {
            let clip = |n: usize| format!("p{who}.{n}");
            all.push(shows(candidate(&clip(0), Subset::Single, &["en"], &[]), who));
            let language = if who % 2 == 0 { "zh" } else { "en" };
            all.push(shows(candidate(&clip(1), Subset::Single, &[language], &[]), who));
        }
        let who = |case: &Candidate| -> Option<usize> {
            case.face_vectors[0][0].values.iter().position(|x| *x > 0.5)
        };
        let (cases, reused) = drawn(&all, 13, 7);
        let people: BTreeSet<_> = cases.iter().map(who).collect();
        assert_eq!((cases.len(), people.len(), reused), (13, 13, 0));
        // There are thirteen people: the fourteenth and fifteenth case show somebody again, and it is said.
        let (cases, reused) = drawn(&all, 15, 7);
        let people: BTreeSet<_> = cases.iter().map(who).collect();
        let clips: BTreeSet<&String> = cases.iter().map(|one| &one.clip).collect();
        assert_eq!((clips.len(), people.len(), reused), (15, 13, 2));
    }

    #[test]
    fn a_person_of_one_subset_comes_into_no_other() {
        let mut all = Vec::new();
        for who in 0..6 {
            all.push(shows(
                candidate(&format!("s{who}"), Subset::Single, &["en"], &[]),
                who,
            ));
            all.push(shows(
                candidate(&format!("d{who}"), Subset::Dialogue, &["en"], &[]),
                who,
            ));
        }
        let (cases, reused) = drawn(&all, 3, 7);
        assert_eq!((cases.len(), reused), (6, 0));
        let (cases, reused) = drawn(&all, 4, 7);
        assert_eq!((cases.len(), reused), (8, 2));
        assert!(cases.windows(2).all(|pair| pair[0].subset <= pair[1].subset));
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
        let (cases, _) = drawn(&all, 10, 7);
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
            let (cases, _) = drawn(all, 20, seed);
            cases.into_iter().map(|one| one.clip).collect()
        };
        let mut turned = all.clone();
        turned.reverse();
        assert_eq!(names(&all, 7), names(&turned, 7));
        assert_eq!(names(&all, 7).len(), 20);
        assert_ne!(names(&all, 7), names(&all, 8));
    }
}
