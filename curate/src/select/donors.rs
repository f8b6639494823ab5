//! Where the references of cross-pair clips come from: other clips of the same person, never the clip itself.
//!
//! Who is the same person is told by the identities of `omni pool`, and by the corpus' own pairs of clips. A pair names
//! no face, only clips and words, so it is resolved by face: two people of the two clips are one when each is the
//! other's most similar face and their cosine reaches the face network's threshold.
//!
//! Memory: about 100 bytes a person and clip, and a face vector for each person of a clip that is in a pair.

use super::Candidate;
use crate::vector::{cosine as dot, unit};
use omni_schemas::{Identity, Listing, Reference};
use std::collections::{BTreeSet, HashMap, HashSet};

/// A person in a clip.
type Key = (String, i64);

/// What a person of a clip has to give.
#[derive(Debug, Clone, Default)]
struct Donor {
    face: bool,
    /// The person's voice, when there is a reference of it.
    voice: Option<String>,
    /// Only for clips in a pair.
    vector: Vec<f32>,
}

/// Everyone who may be drawn.
#[derive(Debug, Default)]
pub struct Donors {
    threshold: f32,
    people: HashMap<Key, Donor>,
    /// People by clip, for the clips in a pair.
    of_clip: HashMap<String, Vec<i64>>,
    /// Identity of each person.
    identity: HashMap<Key, usize>,
    members: Vec<Vec<Key>>,
    /// Partners of each clip.
    pairs: HashMap<String, Vec<String>>,
    /// Clips on either side of a pair.
    paired: HashSet<String>,
}

impl Donors {
    /// Nobody yet; `threshold` is the face network's.
    pub fn new(threshold: f64) -> Donors {
        Donors {
            threshold: threshold as f32,
            ..Donors::default()
        }
    }

    /// Takes the people of an identity for one person.
    pub fn identity(&mut self, identity: Identity) {
        let keys: Vec<Key> = identity
            .members
            .into_iter()
            .map(|member| (member.clip, member.subject))
            .collect();
        for key in &keys {
            self.identity.insert(key.clone(), self.members.len());
        }
        self.members.push(keys);
    }

    /// Takes the partners that the corpus names for a clip. Before [`Donors::add`].
    pub fn pairs(&mut self, listing: &Listing) {
        if listing.partners.is_empty() {
            return;
        }
        let others: Vec<String> = listing
            .partners
            .iter()
            .map(|partner| partner.clip.clone())
            .collect();
        self.paired.insert(listing.clip.clone());
        self.paired.extend(others.iter().cloned());
        self.pairs.insert(listing.clip.clone(), others);
    }

    /// Takes what a clip has to give. Clips whose licence is not taken are not added.
    pub fn add(&mut self, clip: &Candidate) {
        let paired = self.paired.contains(&clip.clip.clip);
        for subject in clip.subjects() {
            let voice = clip.speaker_of(subject);
            let voice = voice.filter(|name| clip.voice_refs.iter().any(|voice| voice.speaker == *name));
            let donor = Donor {
                face: clip.face_refs.iter().any(|face| face.subject == subject),
                voice,
                vector: if paired {
                    face_of(clip, subject)
                } else {
                    Vec::new()
                },
            };
            if donor.face || donor.voice.is_some() {
                self.people.insert((clip.clip.clip.clone(), subject), donor);
                if paired {
                    self.of_clip
                        .entry(clip.clip.clip.clone())
                        .or_default()
                        .push(subject);
                }
            }
        }
    }

    /// Draws a face for every person and a voice for everyone who speaks.
    ///
    /// # Errors
    /// The rules that cannot be met: `pool_face`, `pool_voice`.
    pub fn draw(&self, clip: &Candidate, seed: u64) -> Result<Vec<Reference>, Vec<&'static str>> {
        let (mut drawn, mut failed) = (Vec::new(), BTreeSet::new());
        for subject in clip.subjects() {
            let others = self.others(clip, subject);
            let face = self.pick(
                clip,
                subject,
                seed,
                "face",
                others.iter().copied().filter(|key| self.has_face(key)),
            );
            let speaker = clip.speaker_of(subject);
            let heard = || others.iter().copied().filter(|key| self.voice(key).is_some());
            let voice = speaker
                .as_ref()
                .and_then(|_| self.pick(clip, subject, seed, "voice", heard()));
            if face.is_none() {
                failed.insert("pool_face");
            }
            if speaker.is_some() && voice.is_none() {
                failed.insert("pool_voice");
            }
            let Some((face_clip, face_subject)) = face.cloned() else {
                continue;
            };
            drawn.push(Reference {
                subject,
                speaker,
                face_clip,
                face_subject,
                voice_clip: voice.map(|key| key.0.clone()),
                voice_speaker: voice.and_then(|key| self.voice(key)).map(str::to_owned),
            });
        }
        match failed.is_empty() {
            true => Ok(drawn),
            false => Err(failed.into_iter().collect()),
        }
    }

    /// The same person in other clips, each once.
    fn others(&self, clip: &Candidate, subject: i64) -> Vec<&Key> {
        let own = &clip.clip.clip;
        let key = (own.clone(), subject);
        let pooled = self.identity.get(&key).map_or(&[][..], |at| &self.members[*at]);
        let mut others: BTreeSet<&Key> = pooled.iter().collect();
        for partner in self.pairs.get(own).into_iter().flatten() {
            others.extend(self.resolved(clip, subject, partner));
        }
        others.into_iter().filter(|key| key.0 != *own).collect()
    }

    /// Who of a partner is this person, by face.
    fn resolved(&self, clip: &Candidate, subject: i64, partner: &str) -> Option<&Key> {
        let there = |subject: &i64| self.people.get_key_value(&(partner.to_owned(), *subject));
        let people: Vec<(&Key, &Donor)> = self.of_clip.get(partner)?.iter().filter_map(there).collect();
        let own: Vec<(i64, Vec<f32>)> = clip
            .subjects()
            .into_iter()
            .map(|other| (other, face_of(clip, other)))
            .collect();
        let mine = &own.iter().find(|(other, _)| *other == subject)?.1;
        let (key, donor) = people.into_iter().max_by(|a, b| {
            cosine(mine, &a.1.vector)
                .total_cmp(&cosine(mine, &b.1.vector))
                .then(b.0.cmp(a.0))
        })?;
        let likeness = cosine(mine, &donor.vector);
        let mutual = own
            .iter()
            .all(|(other, face)| *other == subject || cosine(face, &donor.vector) < likeness);
        (mutual && likeness >= self.threshold).then_some(key)
    }

    fn has_face(&self, key: &Key) -> bool {
        self.people.get(key).is_some_and(|donor| donor.face)
    }

    fn voice(&self, key: &Key) -> Option<&str> {
        self.people.get(key)?.voice.as_deref()
    }

    /// One of several, decided by seed, clip and person alone.
    fn pick<'a>(
        &self,
        clip: &Candidate,
        subject: i64,
        seed: u64,
        what: &str,
        of: impl Iterator<Item = &'a Key>,
    ) -> Option<&'a Key> {
        of.min_by_key(|key| {
            let mut hasher = blake3::Hasher::new();
            for text in [
                &seed.to_string(),
                what,
                &clip.clip.clip,
                &subject.to_string(),
                &key.0,
                &key.1.to_string(),
            ] {
                hasher.update(text.as_bytes()).update(&[0]);
            }
            *hasher.finalize().as_bytes()
        })
    }
}

/// Mean of a person's track vectors, unit length; empty without one.
fn face_of(clip: &Candidate, subject: i64) -> Vec<f32> {
    let own = clip
        .faces
        .iter()
        .filter(|face| face.subject == subject && !face.vector.is_empty());
    let mut sum: Vec<f64> = Vec::new();
    for face in own {
        sum.resize(sum.len().max(face.vector.len()), 0.0);
        sum.iter_mut()
            .zip(&face.vector)
            .for_each(|(total, value)| *total += value);
    }
    unit(&sum).unwrap_or_default()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    match a.is_empty() || a.len() != b.len() {
        true => -1.0,
        false => dot(a, b),
    }
}
