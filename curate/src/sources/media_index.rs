//! Which media files a corpus has: one listing, 16 bytes a file, so that no row costs a `stat`. A second listing
//! names the files no row asked for.
//!
//! A file is known by the hash of its path without extension and without a leading `clips/`; the low byte says
//! which extension and whether `clips/` was there, so the path can be built again from the row.

use super::{
    Error,
    walk::{Found, walk},
};
use std::path::Path;

/// Extensions of media files, in the order they are preferred when one clip has several.
const EXTENSIONS: [&str; 8] = ["mp4", "webm", "mkv", "mov", "MP4", "WEBM", "MKV", "MOV"];
/// Set in the low byte when the file lies below `clips/`.
const BELOW_CLIPS: u128 = 0x10;
/// The folder that the `path` column names and that may or may not be there.
const CLIPS: &str = "clips/";
/// The bits that hold the hash.
const HASH: u128 = !0xff;

/// The media files of a corpus, and which of them a row has asked for.
pub(super) struct MediaIndex {
    files: Vec<u128>,
    claimed: Vec<u64>,
}

impl MediaIndex {
    /// Lists every media file below `root`.
    ///
    /// # Errors
    /// [`Error::List`] when a folder cannot be read.
    pub(super) fn read(root: &Path) -> Result<MediaIndex, Error> {
        let mut files = Vec::new();
        let mut keep = |file: &Found| {
            files.extend(code(file));
            false
        };
        walk(root, &mut keep, &mut |_| Ok(()))?;
        files.sort_unstable();
        let claimed = vec![0; files.len().div_ceil(64)];
        Ok(MediaIndex { files, claimed })
    }

    /// Number of media files whose names are text.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// The file of the clip at `path` (with or without `clips/` and extension), as a path below the root.
    /// From now on that file has a row.
    pub(super) fn claim(&mut self, path: &str) -> Option<String> {
        let path = path.strip_prefix(CLIPS).unwrap_or(path);
        let named = split(path).and_then(|(stem, extension)| {
            let at = self.find(stem, Some(extension))?;
            Some((stem, at))
        });
        let (stem, at) = match named {
            Some(found) => found,
            None => (path, self.find(path, None)?),
        };
        self.claimed[at / 64] |= 1 << (at % 64);
        let low = self.files[at] & 0xff;
        let clips = if low & BELOW_CLIPS != 0 { CLIPS } else { "" };
        let extension = EXTENSIONS[(low & 0x7) as usize];
        Some(format!("{clips}{stem}.{extension}"))
    }

    /// Names every media file that nothing claimed, in the order of the paths. Lists the folders again, and only
    /// when there is such a file.
    ///
    /// # Errors
    /// [`Error::List`] when a folder cannot be read, and whatever `on` returns.
    pub(super) fn orphans(
        &self,
        root: &Path,
        on: &mut dyn FnMut(&Found) -> Result<(), Error>,
    ) -> Result<(), Error> {
        walk(root, &mut |file| self.is_orphan(file), on)
    }

    fn is_orphan(&self, file: &Found) -> bool {
        let Some(code) = code(file) else {
            return !file.readable && has_media_name(&file.path);
        };
        match self.files.binary_search(&code) {
            Ok(at) => self.claimed[at / 64] & (1 << (at % 64)) == 0,
            // Came while the rows were read: no row could claim it.
            Err(_) => true,
        }
    }

    fn find(&self, stem: &str, extension: Option<usize>) -> Option<usize> {
        let hash = hash(stem);
        let first = self.files.partition_point(|file| *file < hash);
        let same = self.files[first..]
            .iter()
            .take_while(|file| **file & HASH == hash);
        let mut same = same.enumerate();
        let fits = |file: &u128| extension.is_none_or(|wanted| (file & 0x7) as usize == wanted);
        same.find(|(_, file)| fits(file))
            .map(|(offset, _)| first + offset)
    }
}

/// The code of a media file; nothing for other files and for names that are no text.
fn code(file: &Found) -> Option<u128> {
    if !file.readable {
        return None;
    }
    let below = file.path.strip_prefix(CLIPS);
    let (stem, extension) = split(below.unwrap_or(&file.path))?;
    let clips = if below.is_some() { BELOW_CLIPS } else { 0 };
    Some(hash(stem) | clips | extension as u128)
}

/// Path without extension, and the extension's number.
fn split(path: &str) -> Option<(&str, usize)> {
    let (stem, extension) = path.rsplit_once('.')?;
    let number = EXTENSIONS.iter().position(|known| *known == extension)?;
    (!stem.is_empty() && !stem.ends_with('/')).then_some((stem, number))
}

fn has_media_name(path: &str) -> bool {
    split(path).is_some()
}

/// The upper 120 bits of BLAKE3.
fn hash(text: &str) -> u128 {
    hash128(text) & HASH
}

/// 128 bits of BLAKE3: equal for two of 13 million names with a chance below 1e-24.
pub(super) fn hash128(text: &str) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
    u128::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn corpus(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"x").unwrap();
        }
        dir
    }

    fn orphans(index: &MediaIndex, dir: &tempfile::TempDir) -> Vec<String> {
        let mut out = Vec::new();
        index
            .orphans(dir.path(), &mut |file| {
                out.push(file.path.clone());
                Ok(())
            })
            .unwrap();
        out
    }

    #[test]
    fn a_path_is_found_with_and_without_clips_and_extension() {
        let dir = corpus(&[
            "part_001/ab/cd/abcd.mp4",
            "clips/part_002/ef/01/ef01.webm",
            "notes.txt",
        ]);
        let mut index = MediaIndex::read(dir.path()).unwrap();
        assert_eq!(index.len(), 2);
        let found = |index: &mut MediaIndex, path: &str| index.claim(path);
        for path in [
            "clips/part_001/ab/cd/abcd",
            "part_001/ab/cd/abcd",
            "clips/part_001/ab/cd/abcd.mp4",
        ] {
            assert_eq!(
                found(&mut index, path).as_deref(),
                Some("part_001/ab/cd/abcd.mp4")
            );
        }
        assert_eq!(orphans(&index, &dir), ["clips/part_002/ef/01/ef01.webm"]);
        let other = "clips/part_002/ef/01/ef01";
        assert_eq!(
            found(&mut index, other).as_deref(),
            Some("clips/part_002/ef/01/ef01.webm")
        );
        assert_eq!(found(&mut index, "part_001/ab/cd/abce"), None);
        assert_eq!(found(&mut index, "part_001/ab/cd/abcd.webm"), None);
        assert!(orphans(&index, &dir).is_empty());
    }

    #[test]
    fn the_second_file_of_one_clip_stays_an_orphan() {
        let dir = corpus(&["part_001/a.mov", "part_001/a.mp4", "part_001/a.b.mkv"]);
        let mut index = MediaIndex::read(dir.path()).unwrap();
        assert_eq!(index.claim("part_001/a").as_deref(), Some("part_001/a.mp4"));
        assert_eq!(index.claim("part_001/a.b").as_deref(), Some("part_001/a.b.mkv"));
        assert_eq!(orphans(&index, &dir), ["part_001/a.mov"]);
    }
}
