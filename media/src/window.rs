//! A file, or a stretch of one: media inside an uncompressed archive is read where it lies.
//!
//! `shards/DE-B000000.tar!/1536+48211/DE_B00000_S1_W1.mp3` are the 48,211 bytes from byte 1,536 of that tar; what
//! stands behind the length is a name for people. A stretch that begins in a numbered piece (`total.tar.split.007`)
//! goes on in the pieces with the next numbers, so an archive that was cut into pieces is never joined.

use crate::Error;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The path of `length` bytes from byte `offset` of an archive (of a numbered piece, when it was cut).
pub fn window_path(archive: &str, offset: u64, length: u64, name: &str) -> String {
    format!("{archive}!/{offset}+{length}/{name}")
}

/// What [`window_path`] put together: archive, offset, length; nothing for the path of a plain file.
pub fn split_window(path: &Path) -> Option<(PathBuf, u64, u64)> {
    let text = path.to_str()?;
    let (archive, rest) = text.rsplit_once("!/")?;
    let (place, _) = rest.split_once('/')?;
    let (offset, length) = place.split_once('+')?;
    Some((archive.into(), offset.parse().ok()?, length.parse().ok()?))
}

/// A part of one file.
#[derive(Debug)]
struct Piece {
    file: File,
    /// Where the part begins in its file.
    start: u64,
    /// Where it begins in the window.
    from: u64,
    /// Where it ends in the window.
    to: u64,
}

/// A file or a stretch of bytes, open for reading.
#[derive(Debug)]
pub struct Window {
    pieces: Vec<Piece>,
    length: u64,
    at: u64,
}

impl Window {
    /// Opens a plain file, or what a path made by [`window_path`] names.
    ///
    /// # Errors
    /// `not_found` when the file, the archive or one of its pieces is not there; `unreadable` when it is no file, or
    /// the stretch reaches beyond the end.
    pub fn open(path: &Path) -> Result<Window, Error> {
        match split_window(path) {
            None => {
                let (file, bytes) = open(path, path)?;
                Ok(Window::of(vec![(file, 0, bytes)]))
            }
            Some((archive, offset, length)) => Window::inside(path, archive, offset, length),
        }
    }

    fn inside(path: &Path, mut archive: PathBuf, mut offset: u64, length: u64) -> Result<Window, Error> {
        let mut parts = Vec::new();
        let mut left = length;
        loop {
            let (file, bytes) = open(path, &archive)?;
            let beyond = || Error::unreadable(path, "lies beyond the end of its archive");
            let there = bytes.checked_sub(offset).ok_or_else(beyond)?.min(left);
            parts.push((file, offset, there));
            left -= there;
            if left == 0 {
                return Ok(Window::of(parts));
            }
            archive = next_piece(&archive).ok_or_else(beyond)?;
            offset = 0;
        }
    }

    fn of(parts: Vec<(File, u64, u64)>) -> Window {
        let mut length = 0;
        let pieces = parts.into_iter().map(|(file, start, bytes)| {
            let from = length;
            length += bytes;
            Piece {
                file,
                start,
                from,
                to: length,
            }
        });
        Window {
            pieces: pieces.collect(),
            length,
            at: 0,
        }
    }

    /// Bytes in the window.
    pub fn length(&self) -> u64 {
        self.length
    }
}

/// All bytes of a file or window of at most `most` bytes.
///
/// # Errors
/// As [`Window::open`]; `too_large` above the limit.
pub fn read_window(path: &Path, most: u64) -> Result<Vec<u8>, Error> {
    let mut window = Window::open(path)?;
    if window.length > most {
        return Err(Error::TooLarge {
            path: path.into(),
            message: format!("has {} bytes, the limit is {most}", window.length),
        });
    }
    let mut bytes = Vec::new();
    let read = window.read_to_end(&mut bytes);
    read.map_err(|error| Error::unreadable(path, error.to_string()))?;
    Ok(bytes)
}

fn open(path: &Path, file: &Path) -> Result<(File, u64), Error> {
    let open = File::open(file).map_err(|error| Error::not_found(file, &error))?;
    let meta = open.metadata().map_err(|error| Error::not_found(file, &error))?;
    if !meta.is_file() {
        return Err(Error::unreadable(path, "is not a file"));
    }
    Ok((open, meta.len()))
}

/// `x.split.007` -> `x.split.008`; nothing for a file that is no numbered piece.
fn next_piece(piece: &Path) -> Option<PathBuf> {
    let digits = piece.extension()?.to_str()?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let next = digits.parse::<u64>().ok()?.checked_add(1)?;
    Some(piece.with_extension(format!("{next:0width$}", width = digits.len())))
}

impl Read for Window {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let at = self.at;
        let Some(piece) = self
            .pieces
            .iter_mut()
            .find(|piece| at >= piece.from && at < piece.to)
        else {
            return Ok(0);
        };
        let most = usize::try_from(piece.to - at).map_or(into.len(), |left| left.min(into.len()));
        piece.file.seek(SeekFrom::Start(piece.start + at - piece.from))?;
        let read = piece.file.read(&mut into[..most])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl symphonia::core::io::MediaSource for Window {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(content: &[u8], size: usize) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (number, piece) in content.chunks(size).enumerate() {
            std::fs::write(dir.path().join(format!("a.tar.split.{number:03}")), piece).unwrap();
        }
        dir
    }

    proptest! {
        #[test]
        fn a_stretch_over_pieces_is_the_stretch_of_the_whole(size in 1usize..40, from in 0usize..90, length in 0usize..60, seek in 0u64..80) {
            let content: Vec<u8> = (0..100u8).collect();
            let to = (from + length).min(100);
            let dir = cut(&content, size);
            let archive = dir.path().join(format!("a.tar.split.{:03}", from / size));
            let path = window_path(archive.to_str().unwrap(), (from % size) as u64, (to - from) as u64, "x.mp4");
            prop_assert_eq!(read_window(Path::new(&path), 1000).unwrap(), &content[from..to]);
            let mut window = Window::open(Path::new(&path)).unwrap();
            prop_assert_eq!(window.length(), (to - from) as u64);
            window.seek(SeekFrom::Start(seek)).unwrap();
            let mut rest = Vec::new();
            window.read_to_end(&mut rest).unwrap();
            prop_assert_eq!(&rest[..], &content[(from + seek as usize).min(to)..to]);
        }
    }

    #[test]
    fn what_is_not_there_has_its_word() {
        let dir = cut(&[7; 100], 40);
        let reason = |name: &str, offset, length| {
            let path = window_path(dir.path().join(name).to_str().unwrap(), offset, length, "x.mp4");
            read_window(Path::new(&path), 50).unwrap_err().reason()
        };
        assert_eq!(reason("b.tar", 0, 1), "not_found");
        assert_eq!(reason("a.tar.split.002", 10, 11), "not_found");
        assert_eq!(reason("a.tar.split.000", 41, 1), "unreadable");
        assert_eq!(reason("a.tar.split.000", 0, 60), "too_large");
        std::fs::write(dir.path().join("b.tar"), [0; 10]).unwrap();
        assert_eq!(reason("b.tar", 5, 6), "unreadable");
        assert!(
            split_window(Path::new("a!/b/c.mp4")).is_none() && split_window(Path::new("a/b.mp4")).is_none()
        );
    }
}
