//! One mark over everything that a clip's scores depend on: its bytes, its case, the files that the case names.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use omni_schemas::{Case, Generation};
use sha2::{Digest, Sha256};

/// Bytes that are read at each end of a file.
const EDGE: u64 = 1 << 20;

/// 64 hex digits; the same for the same clip, case and references. Of a file, its size and its first and last MiB are read;
/// a file that is not there counts as such.
pub(super) fn mark(media: &Path, generation: &Generation) -> String {
    let mut hasher = Sha256::new();
    // A record of strings and numbers always has its JSON.
    let text = serde_json::to_vec(generation).unwrap_or_default();
    hasher.update(text);
    edges(media, &mut hasher);
    for path in references(&generation.given) {
        edges(Path::new(path), &mut hasher);
    }
    hex(&hasher.finalize())
}

/// Pictures and voices of a case, in its order.
fn references(case: &Case) -> impl Iterator<Item = &String> {
    let of_subjects = case
        .subjects
        .iter()
        .flat_map(|subject| subject.face.iter().chain(&subject.voice));
    case.first_frame.iter().chain(of_subjects)
}

fn edges(path: &Path, hasher: &mut Sha256) {
    let read = || -> std::io::Result<(u64, Vec<u8>)> {
        let mut file = File::open(path)?;
        let bytes = file.seek(SeekFrom::End(0))?;
        let mut both = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.by_ref().take(EDGE).read_to_end(&mut both)?;
        file.seek(SeekFrom::Start(bytes.saturating_sub(EDGE).max(EDGE.min(bytes))))?;
        file.take(EDGE).read_to_end(&mut both)?;
        Ok((bytes, both))
    };
    match read() {
        Ok((bytes, both)) => {
            hasher.update(bytes.to_le_bytes());
            hasher.update(both);
        }
        Err(_) => hasher.update(b"\xffabsent"),
    }
}

/// Lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_schemas::CaseSubject;

    #[test]
    fn what_a_score_depends_on_changes_the_mark() {
        let folder = tempfile::tempdir().unwrap();
        let (clip, face) = (folder.path().join("a.mp4"), folder.path().join("a.png"));
        std::fs::write(&clip, "one").unwrap();
        std::fs::write(&face, "face").unwrap();
        let subject = CaseSubject {
            face: Some(face.to_str().unwrap().to_owned()),
            ..CaseSubject::default()
        };
        let mut generation = Generation::default();
        generation.given.subjects.push(subject);
        let first = mark(&clip, &generation);
        assert_eq!((first.len(), &mark(&clip, &generation)), (64, &first));
        std::fs::write(&face, "Face").unwrap();
        let second = mark(&clip, &generation);
        assert_ne!(first, second);
        std::fs::write(&clip, "two").unwrap();
        let third = mark(&clip, &generation);
        assert_ne!(second, third);
        std::fs::remove_file(&clip).unwrap();
        assert_ne!(third, mark(&clip, &generation));
        generation.given.prompt.push('x');
        assert_ne!(mark(&clip, &generation), mark(&clip, &Generation::default()));
    }
}
