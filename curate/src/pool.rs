//! People across clips (`omni pool`): appearances of one person, in whatever clips, become one [`Identity`] with its
//! pictures and voices.
//!
//! First inside each upstream video, where the same people come back, then over all of them: average-linkage
//! clustering of unit face vectors, joined while the mean cosine between two groups reaches the face network's own
//! threshold. Two people of one clip are never joined: the tracker has already told them apart. Voices take no part
//! in the decision; they are averaged afterwards.
//!
//! Exact up to [`Settings::exact`] groups at once; above that, blocks of at most that many (see `cluster`). Memory
//! is one face and one voice vector (4 bytes a number) and the names of each appearance: about 3 KiB, so a million
//! appearances need about 3 GiB; [`Settings::most`] stops before that gets out of hand. What is not done here:
//! reading manifests.

mod cluster;

use crate::vector::unit;
use cluster::{Group, Limits, join};
use omni_schemas::{Binding, Clip, Identity, IdentityMember, Track, VoiceRef};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Why identities cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Vectors of different networks cannot be compared.
    #[error(
        "clip `{clip}` has {kind} vectors of `{found}`, others of `{expected}`; pool clips curated with one network"
    )]
    MixedNetworks {
        /// `face` or `voice`.
        kind: &'static str,
        /// The clip.
        clip: String,
        /// The network of the clip's vector, and its length.
        found: String,
        /// The network of the first vector, and its length.
        expected: String,
    },
    /// More appearances than the settings allow.
    #[error(
        "more than {0} appearances; raise `most` (about 3 KiB of memory each) or pool a part of the corpus"
    )]
    TooMany(usize),
    /// One person of one clip was given twice.
    #[error("subject {subject} of clip `{clip}` came twice; pool reads each clip once")]
    Twice {
        /// The clip.
        clip: String,
        /// The person.
        subject: i64,
    },
    /// A setting makes no sense.
    #[error("pool: {0}")]
    Settings(String),
}

/// How identities are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Groups whose mean cosine reaches this are one person, -1..=1; absent: the face network's own threshold.
    pub threshold: Option<f64>,
    /// Up to this many groups are compared each with each.
    pub exact: usize,
    /// Rounds of other blocks when there are more groups than `exact`.
    pub rounds: usize,
    /// The most appearances that are taken.
    pub most: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            threshold: None,
            exact: 2048,
            rounds: 12,
            most: 4_000_000,
        }
    }
}

/// One person in one clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Appearance {
    /// The clip.
    pub clip: String,
    /// The upstream video, where the corpus tells.
    pub source_video: Option<String>,
    /// The person's number in the clip, from 1.
    pub subject: i64,
    /// The person's voice in the clip.
    pub speaker: Option<String>,
    /// Mean face vector of the person in the clip; empty when none could be made.
    pub face: Vec<f64>,
    /// The network that made it.
    pub face_network: String,
    /// Mean voice vector of the person in the clip; empty when never heard or too short.
    pub voice: Vec<f64>,
    /// The network that made it.
    pub voice_network: String,
}

/// The people of one clip: their faces are the mean over their tracks, weighted by the number of frames.
pub fn appearances(
    clip: &Clip,
    tracks: &[Track],
    voices: &[VoiceRef],
    binding: Option<&Binding>,
) -> Vec<Appearance> {
    let mut subjects: BTreeMap<i64, Vec<&Track>> = BTreeMap::new();
    for track in tracks {
        subjects.entry(track.subject).or_default().push(track);
    }
    let one = |(subject, tracks): (i64, Vec<&Track>)| {
        let mut bound = binding.iter().flat_map(|binding| &binding.subjects);
        let speaker = bound
            .find(|bound| bound.subject == subject)
            .and_then(|bound| bound.speaker.clone());
        let voice = voices
            .iter()
            .find(|voice| Some(&voice.speaker) == speaker.as_ref());
        let seen = tracks.iter().find(|track| !track.vector.is_empty());
        Appearance {
            clip: clip.clip.clone(),
            source_video: clip.source_video.clone(),
            subject,
            face: mean_face(&tracks),
            face_network: seen.map(|track| track.embedder.clone()).unwrap_or_default(),
            voice: voice.map(|voice| voice.vector.clone()).unwrap_or_default(),
            voice_network: voice.map(|voice| voice.embedder.clone()).unwrap_or_default(),
            speaker,
        }
    };
    subjects.into_iter().map(one).collect()
}

fn mean_face(tracks: &[&Track]) -> Vec<f64> {
    let mut sum: Vec<f64> = Vec::new();
    for track in tracks {
        sum.resize(sum.len().max(track.vector.len()), 0.0);
        let weight = track.frames.len().max(1) as f64;
        sum.iter_mut()
            .zip(&track.vector)
            .for_each(|(total, value)| *total += weight * value);
    }
    sum
}

/// The identities, and what was left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// The identities, by name.
    pub identities: Vec<Identity>,
    /// Appearances pooled.
    pub appearances: u64,
    /// Appearances without a face vector: they belong to no identity.
    pub without_face: u64,
    /// Whether every group was compared with every other; otherwise a person may have been left in two parts.
    pub exact: bool,
}

/// One appearance, ready to be compared.
struct Member {
    row: IdentityMember,
    source_video: Option<String>,
    face: Vec<f32>,
    voice: Option<Vec<f32>>,
}

/// Pools `appearances`; `threshold` is the face network's own. The result does not depend on their order.
///
/// # Errors
/// [`Error`]: vectors of different networks, more appearances than allowed, one person given twice.
pub fn pool(
    appearances: impl IntoIterator<Item = Appearance>,
    threshold: f64,
    settings: &Settings,
) -> Result<Pool, Error> {
    let threshold = settings.threshold.unwrap_or(threshold);
    if !(-1.0..=1.0).contains(&threshold) || settings.exact < 2 {
        let what = "`threshold` lies in -1..1 and `exact` is at least 2";
        return Err(Error::Settings(what.into()));
    }
    let (mut members, without_face) = gather(appearances, settings.most)?;
    let limits = Limits {
        threshold: threshold as f32,
        exact: settings.exact,
        rounds: settings.rounds,
    };
    let clips = number_clips(&members);
    let mut exact = true;
    let mut groups = Vec::new();
    for together in by_video(&members) {
        let group = |at: usize| Group::new(at, clips[at], std::mem::take(&mut members[at].face));
        let (found, all) = join(together.into_iter().map(group).collect(), &limits);
        exact &= all;
        groups.extend(found);
    }
    groups.sort_by_key(|group| group.members[0]);
    let (groups, all) = join(groups, &limits);
    let mut identities: Vec<Identity> = groups.iter().map(|group| identity(group, &members)).collect();
    identities.sort_by(|a, b| a.identity.cmp(&b.identity));
    Ok(Pool {
        identities,
        appearances: members.len() as u64,
        without_face,
        exact: exact && all,
    })
}

/// Checks the appearances, sorts them by clip and subject, and leaves out those without a face.
fn gather(
    appearances: impl IntoIterator<Item = Appearance>,
    most: usize,
) -> Result<(Vec<Member>, u64), Error> {
    let (mut members, mut without_face) = (Vec::new(), 0);
    let (mut faces, mut voices) = (Network::new("face"), Network::new("voice"));
    for one in appearances {
        let Some(face) = unit(&one.face) else {
            without_face += 1;
            continue;
        };
        faces.check(&one.clip, &one.face_network, face.len())?;
        let voice = unit(&one.voice);
        if let Some(voice) = &voice {
            voices.check(&one.clip, &one.voice_network, voice.len())?;
        }
        if members.len() == most {
            return Err(Error::TooMany(most));
        }
        let row = IdentityMember {
            clip: one.clip,
            subject: one.subject,
            speaker: one.speaker,
        };
        members.push(Member {
            row,
            source_video: one.source_video,
            face,
            voice,
        });
    }
    members.sort_by(|a, b| key(a).cmp(&key(b)));
    match members.windows(2).find(|pair| key(&pair[0]) == key(&pair[1])) {
        Some(pair) => Err(Error::Twice {
            clip: pair[0].row.clip.clone(),
            subject: pair[0].row.subject,
        }),
        None => Ok((members, without_face)),
    }
}

fn key(member: &Member) -> (&str, i64) {
    (&member.row.clip, member.row.subject)
}

/// The network all vectors of a kind must come from.
struct Network {
    kind: &'static str,
    first: Option<(String, usize)>,
}

impl Network {
    fn new(kind: &'static str) -> Network {
        Network { kind, first: None }
    }

    fn check(&mut self, clip: &str, name: &str, length: usize) -> Result<(), Error> {
        let (expected, size) = self.first.get_or_insert_with(|| (name.to_owned(), length));
        if expected == name && *size == length {
            return Ok(());
        }
        Err(Error::MixedNetworks {
            kind: self.kind,
            clip: clip.to_owned(),
            found: format!("{name} ({length})"),
            expected: format!("{expected} ({size})"),
        })
    }
}

/// A number for each member's clip; members are sorted by clip.
fn number_clips(members: &[Member]) -> Vec<u32> {
    let mut number = 0;
    let mut numbers = Vec::with_capacity(members.len());
    for (at, member) in members.iter().enumerate() {
        if at > 0 && members[at - 1].row.clip != member.row.clip {
            number += 1;
        }
        numbers.push(number);
    }
    numbers
}

/// Members of one upstream video together, in the order of their first members; others alone.
fn by_video(members: &[Member]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (at, member) in members.iter().enumerate() {
        let new = groups.len();
        let place = member
            .source_video
            .as_deref()
            .map_or(new, |video| *places.entry(video).or_insert(new));
        if place == new {
            groups.push(Vec::new());
        }
        groups[place].push(at);
    }
    groups
}

fn identity(group: &Group, members: &[Member]) -> Identity {
    let rows: Vec<&Member> = group.members.iter().map(|at| &members[*at]).collect();
    let voices: Vec<&[f32]> = rows.iter().filter_map(|member| member.voice.as_deref()).collect();
    Identity {
        identity: name(&rows[0].row),
        members: rows.iter().map(|member| member.row.clone()).collect(),
        face: mean(&[group.sum()]),
        voice: mean(&voices),
    }
}

/// Hash of the smallest member: 32 hex digits.
fn name(first: &IdentityMember) -> String {
    let text = format!("{}\0{}", first.clip, first.subject);
    blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
}

/// Direction of the sum of vectors, unit length; empty when there are none or they cancel.
fn mean(vectors: &[&[f32]]) -> Vec<f64> {
    let mut sum = vec![0.0_f64; vectors.first().map_or(0, |vector| vector.len())];
    for vector in vectors {
        sum.iter_mut()
            .zip(*vector)
            .for_each(|(total, value)| *total += f64::from(*value));
    }
    unit(&sum)
        .map(|vector| vector.into_iter().map(f64::from).collect())
        .unwrap_or_default()
}

/// The clips of identities that appear in at least `clips` different clips: what cross-pair references can be drawn
/// from.
pub fn recurring(identities: &[Identity], clips: usize) -> impl Iterator<Item = &Identity> {
    identities.iter().filter(move |identity| {
        let seen: BTreeSet<&String> = identity.members.iter().map(|member| &member.clip).collect();
        seen.len() >= clips
    })
}

#[cfg(test)]
mod tests;
