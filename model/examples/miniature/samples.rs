//! Clips of the world as what a network is trained on.

use super::world::{Clip, Kind};
use omni_model::{
    Result,
    train::{Entry, Sample, Samples},
};

/// Clips and utterances of some kinds, made when they are asked for.
pub struct World {
    entries: Vec<Entry>,
    all: Vec<(Kind, u64)>,
    /// Whether captions are said, see [`Clip::vocal`].
    vocal: bool,
}

impl World {
    /// So many of each kind.
    pub fn new(kinds: &[(Kind, u64)]) -> Result<Self> {
        let numbered = |(kind, count): &(Kind, u64)| {
            let kind = *kind;
            (0..*count).map(move |number| (kind, number))
        };
        let all: Vec<(Kind, u64)> = kinds.iter().flat_map(numbered).collect();
        let entry = |(kind, number): &(Kind, u64)| -> Result<Entry> {
            let clip = Clip::new(*kind, *number)?;
            Ok(Entry {
                id: format!("{kind:?}-{number}").to_lowercase(),
                video: *kind != Kind::Speech,
                subjects: clip.people.len(),
                own_reference: kind.own_reference(),
            })
        };
        Ok(Self {
            entries: all.iter().map(entry).collect::<Result<_>>()?,
            all,
            vocal: false,
        })
    }

    /// The same clips, of those with one utterance half with the words of their caption said.
    pub fn vocal(self) -> Self {
        Self { vocal: true, ..self }
    }
}

impl Samples for World {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn load(&self, index: usize) -> Result<Sample> {
        let (kind, number) = self.all[index];
        let clip = if self.vocal {
            Clip::vocal(kind, number)?
        } else {
            Clip::new(kind, number)?
        };
        clip.sample(kind, number)
    }
}
