//! Who is in the cases drawn so far, so that nobody comes into two.

use super::candidate::{Candidate, Vector};
use omni_perception::registry::Registry;
use std::sync::LazyLock;

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::builtin);

/// Faces and voices of people; two are one person from the network's own threshold on.
#[derive(Default)]
pub(super) struct People {
    faces: Vec<Vector>,
    voices: Vec<Vector>,
}

impl People {
    /// Whether somebody of a clip is among them, by face or by voice. Vectors of two networks cannot be compared, and
    /// those of a network without a threshold tell nothing.
    pub fn meet(&self, candidate: &Candidate) -> bool {
        let mut faces = candidate.face_vectors.iter().flatten();
        let mut voices = candidate.voice_vectors.iter();
        faces.any(|face| holds(&self.faces, face)) || voices.any(|voice| holds(&self.voices, voice))
    }

    /// Adds everybody of a clip.
    pub fn add(&mut self, candidate: &Candidate) {
        self.faces
            .extend(candidate.face_vectors.iter().flatten().cloned());
        self.voices.extend(candidate.voice_vectors.iter().cloned());
    }
}

fn holds(known: &[Vector], vector: &Vector) -> bool {
    let id = vector.network.split('#').next().unwrap_or_default();
    let Some(threshold) = REGISTRY.spec(id).ok().and_then(|spec| spec.threshold) else {
        return false;
    };
    let near = |other: &Vector| {
        let cosine: f32 = other.values.iter().zip(&vector.values).map(|(a, b)| a * b).sum();
        other.network == vector.network && cosine >= threshold
    };
    known.iter().any(near)
}
