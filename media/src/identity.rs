//! A cheap identity of a file: enough to notice that it was replaced, without reading all of it.

use std::io::{Read, Seek, SeekFrom};

const EDGE: u64 = 1 << 20;

/// Size of the file, and BLAKE3 (hex) over that size (8 bytes, little endian), the first MiB and the last MiB
/// (no byte twice).
pub(crate) fn identity(file: &mut (impl Read + Seek)) -> std::io::Result<(u64, String)> {
    let bytes = file.seek(SeekFrom::End(0))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes.to_le_bytes());
    file.seek(SeekFrom::Start(0))?;
    std::io::copy(&mut file.by_ref().take(EDGE), &mut hasher)?;
    file.seek(SeekFrom::Start(bytes.saturating_sub(EDGE).max(EDGE.min(bytes))))?;
    std::io::copy(&mut file.by_ref().take(EDGE), &mut hasher)?;
    file.seek(SeekFrom::Start(0))?;
    Ok((bytes, hasher.finalize().to_hex().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn of(content: &[u8]) -> (u64, String) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        identity(&mut file).unwrap()
    }

    #[test]
    fn every_byte_of_the_edges_counts_and_the_middle_does_not() {
        let base = vec![7u8; 3 << 20];
        let (bytes, name) = of(&base);
        assert_eq!((bytes, name.len()), (3 << 20, 64));
        for (at, same) in [
            (0, false),
            ((1 << 20) - 1, false),
            (1 << 20, true),
            ((2 << 20) - 1, true),
            (2 << 20, false),
            ((3 << 20) - 1, false),
        ] {
            let mut other = base.clone();
            other[at] = 8;
            assert_eq!(of(&other).1 == name, same, "byte {at}");
        }
        assert_ne!(of(b"").1, of(b"\0").1);
    }
}
