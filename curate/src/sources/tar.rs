//! Lists the members of a tar that may be cut into numbered pieces (`x.tar.split.000`, ...), without unpacking or
//! joining: only headers are read. A member is named by the path that `omni_media::Window` opens.
//!
//! Plain ustar, GNU long names and pax headers (path, size) are known; a header whose check sum does not hold ends the
//! list, and so does a tar that is cut: every member before is whole.

use super::Error;
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

const BLOCK: u64 = 512;
/// The longest name or pax header.
const MOST_NAME: u64 = 1 << 16;

/// One file of a tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its name as it stands there, without a leading `./`.
    pub name: String,
    /// Where its bytes begin in the whole tar.
    pub offset: u64,
    /// How many.
    pub length: u64,
}

/// How a tar ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// As it should.
    Whole,
    /// The file (or the row of pieces) ends at this byte, before the tar does.
    Truncated(u64),
    /// At this byte stands no header.
    Damaged(u64),
}

/// One piece: path below the root, and where it lies in the whole.
struct Piece {
    path: String,
    from: u64,
    to: u64,
}

/// A tar, open for listing.
pub(super) struct Tar<'a> {
    root: &'a Path,
    pieces: Vec<Piece>,
    open: Option<(usize, File)>,
}

impl Tar<'_> {
    /// The tar whose pieces, in order, have these paths below the root.
    ///
    /// # Errors
    /// [`Error::List`] when a piece cannot be looked at.
    pub(super) fn open<'a>(root: &'a Path, paths: &[String]) -> Result<Tar<'a>, Error> {
        let (mut pieces, mut from) = (Vec::new(), 0);
        for path in paths {
            let full = root.join(path);
            let bytes = std::fs::metadata(&full)
                .map_err(|error| Error::list(&full, error))?
                .len();
            let to = from + bytes;
            let path = path.clone();
            pieces.push(Piece { path, from, to });
            from = to;
        }
        Ok(Tar {
            root,
            pieces,
            open: None,
        })
    }

    /// Hands out every whole member that is a file, in order, until `on` fails; how the tar ended.
    ///
    /// # Errors
    /// [`Error::List`] when a piece cannot be read, and what `on` returns.
    pub(super) fn members(
        &mut self,
        on: &mut dyn FnMut(&mut Self, Member) -> Result<(), Error>,
    ) -> Result<End, Error> {
        let total = self.pieces.last().map_or(0, |piece| piece.to);
        let (mut at, mut given) = (0u64, Given::default());
        loop {
            if at + BLOCK > total {
                return Ok(End::Truncated(total));
            }
            let mut header = [0; BLOCK as usize];
            self.read_at(at, &mut header)?;
            if header.iter().all(|byte| *byte == 0) {
                return Ok(End::Whole);
            }
            let Some(found) = read_header(&header) else {
                return Ok(End::Damaged(at));
            };
            let length = given.length.unwrap_or(found.length);
            let offset = at + BLOCK;
            let Some(end) = length
                .checked_next_multiple_of(BLOCK)
                .and_then(|full| full.checked_add(offset))
            else {
                return Ok(End::Damaged(at));
            };
            if offset + length > total {
                return Ok(End::Truncated(total));
            }
            match found.kind {
                b'L' | b'x' if length > MOST_NAME => return Ok(End::Damaged(at)),
                b'L' | b'x' => {
                    let mut bytes = vec![0; length as usize];
                    self.read_at(offset, &mut bytes)?;
                    given.take(found.kind, &bytes);
                }
                b'0' | 0 | b'7' => {
                    let name = given.name.take().unwrap_or(found.name);
                    let name = name.trim_start_matches("./").to_owned();
                    given = Given::default();
                    on(self, Member { name, offset, length })?;
                }
                b'g' | b'K' => {}
                _ => given = Given::default(),
            }
            at = end;
        }
    }

    /// The path of a member below the root, for `omni_media::Window`.
    pub(super) fn path_of(&self, member: &Member) -> String {
        let last = self.pieces.len().saturating_sub(1);
        let holds = |piece: &Piece| member.offset < piece.to;
        let piece = &self.pieces[self.pieces.iter().position(holds).unwrap_or(last)];
        let name = member.name.rsplit('/').next().unwrap_or(&member.name);
        omni_media::window_path(&piece.path, member.offset - piece.from, member.length, name)
    }

    /// Reads a member.
    ///
    /// # Errors
    /// [`Error::List`] when a piece cannot be read.
    pub(super) fn read(&mut self, member: &Member) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; member.length as usize];
        self.read_at(member.offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads on over the ends of pieces; the bytes must be there.
    fn read_at(&mut self, mut at: u64, mut into: &mut [u8]) -> Result<(), Error> {
        while !into.is_empty() {
            let place = self.pieces.iter().position(|piece| at < piece.to).unwrap_or(0);
            let path = self.root.join(&self.pieces[place].path);
            let failed = |error| Error::list(&path, error);
            if self.open.as_ref().is_none_or(|(open, _)| *open != place) {
                self.open = Some((place, File::open(&path).map_err(failed)?));
            }
            let piece = &self.pieces[place];
            let most =
                usize::try_from(piece.to.saturating_sub(at)).map_or(into.len(), |left| left.min(into.len()));
            let (now, rest) = into.split_at_mut(most);
            if let Some((_, file)) = &mut self.open {
                file.seek(SeekFrom::Start(at - piece.from)).map_err(failed)?;
                file.read_exact(now).map_err(failed)?;
            }
            (into, at) = (rest, at + most as u64);
        }
        Ok(())
    }
}

/// What the headers before a member say of it.
#[derive(Default)]
struct Given {
    name: Option<String>,
    length: Option<u64>,
}

impl Given {
    fn take(&mut self, kind: u8, bytes: &[u8]) {
        if kind == b'L' {
            self.name = Some(text(bytes));
            return;
        }
        let mut rest = bytes;
        while let Some((line, more)) = pax_line(rest) {
            rest = more;
            match line.split_once('=') {
                Some(("path", path)) => self.name = Some(path.to_owned()),
                Some(("size", size)) => self.length = size.parse().ok(),
                _ => {}
            }
        }
    }
}

/// `<length> key=value\n`, the length counting itself.
fn pax_line(bytes: &[u8]) -> Option<(String, &[u8])> {
    let blank = bytes.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..blank]).ok()?.parse().ok()?;
    let line = bytes.get(blank + 1..length)?;
    let line = String::from_utf8_lossy(line.strip_suffix(b"\n")?).into_owned();
    Some((line, &bytes[length..]))
}

struct Header {
    name: String,
    length: u64,
    kind: u8,
}

fn read_header(header: &[u8; BLOCK as usize]) -> Option<Header> {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    let wanted = number(&header[148..156])?;
    if sum(&header[..148]) + 8 * u64::from(b' ') + sum(&header[156..]) != wanted {
        return None;
    }
    let prefix = match &header[257..262] == b"ustar" && header[263..265] == *b"00" {
        true => text(&header[345..500]),
        false => String::new(),
    };
    let name = text(&header[..100]);
    Some(Header {
        name: if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        },
        length: number(&header[124..136])?,
        kind: header[156],
    })
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// Octal digits, or GNU's base 256.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let high = field[..field.len() - 8].iter().skip(1).any(|byte| *byte != 0);
        let low: [u8; 8] = field[field.len() - 8..].try_into().ok()?;
        return (!high && low[0] & 0x80 == 0).then(|| u64::from_be_bytes(low));
    }
    let digits = text(field);
    u64::from_str_radix(digits.trim(), 8).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use omni_manifests::PackWriter;
    use omni_schemas::Blob;

    /// A tar of these members, as the packs of a part are written.
    pub(in crate::sources) fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.tar");
        let mut writer = PackWriter::create(&path).unwrap();
        for (name, bytes) in members {
            let mut blob = Blob {
                name: (*name).to_owned(),
                ..Blob::default()
            };
            writer.append(&mut blob, bytes).unwrap();
        }
        writer.finish().unwrap();
        std::fs::read(path).unwrap()
    }

    type Listed = (Vec<(String, Vec<u8>)>, End);

    fn list(bytes: &[u8], size: usize) -> Listed {
        let dir = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (number, piece) in bytes.chunks(size).enumerate() {
            paths.push(format!("x.tar.split.{number:03}"));
            std::fs::write(dir.path().join(&paths[number]), piece).unwrap();
        }
        let mut tar = Tar::open(dir.path(), &paths).unwrap();
        let mut found = Vec::new();
        let end = tar.members(&mut |tar, member| {
            let bytes = tar.read(&member)?;
            let window = dir.path().join(tar.path_of(&member));
            assert_eq!(omni_media::read_window(&window, 1 << 20).unwrap(), bytes);
            found.push((member.name, bytes));
            Ok(())
        });
        (found, end.unwrap())
    }

    #[test]
    fn members_are_read_over_the_ends_of_pieces() {
        let long = format!("{}/{}.mp4", "d".repeat(120), "n".repeat(90));
        let members: [(&str, &[u8]); 4] = [
            ("a/b.json", b"{}"),
            ("c.mp3", &[7; 3000]),
            (&long, b"x"),
            ("e", b""),
        ];
        let whole = tar(&members);
        let wanted: Vec<_> = members
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()))
            .collect();
        for size in [whole.len(), 1000, 513, 512, 100] {
            assert_eq!(list(&whole, size), (wanted.clone(), End::Whole), "{size}");
        }
    }

    #[test]
    fn a_cut_tar_gives_every_whole_member() {
        let members: [(&str, &[u8]); 3] = [("a", &[1; 600]), ("b", &[2; 600]), ("c", &[3; 600])];
        let whole = tar(&members);
        for cut in 0..3 * 1536 {
            let (found, end) = list(&whole[..cut], 700);
            let wanted = (0..3).filter(|at| cut >= at * 1536 + 512 + 600).count();
            assert_eq!((found.len(), end), (wanted, End::Truncated(cut as u64)), "{cut}");
        }
    }

    #[test]
    fn noise_ends_the_list_and_never_panics() {
        let whole = tar(&[("a", &[1; 600]), ("b", &[2; 600])]);
        let mut state = 1u64;
        for _ in 0..2000 {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let mut noisy = whole.clone();
            let at = (state >> 33) as usize % noisy.len();
            noisy[at] ^= (state >> 20) as u8 | 1;
            let (found, _) = list(&noisy, 1 << 20);
            assert!(found.len() <= 2);
        }
        let mut noisy = whole;
        noisy[1536 + 3] ^= 1;
        assert_eq!(list(&noisy, 1 << 20).1, End::Damaged(1536));
    }
}
