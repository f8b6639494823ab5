//! Files that several checkpoints share.

use crate::{Error, Result};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    path::Path,
};

/// Puts what `from` leads to at `to`, where nothing may lie: as a hard link, or as a copy where the disk has none between the two.
///
/// A file that is there is never written into: it may be `from` itself, by another name.
pub(crate) fn share(from: &Path, to: &Path) -> Result<()> {
    let at = |path: &Path, source| Error::Io {
        path: path.to_owned(),
        source,
    };
    // a link that leads there from where `from` lies may lead nowhere from where `to` lies
    let real = fs::canonicalize(from).map_err(|error| at(from, error))?;
    match fs::hard_link(&real, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(at(to, error)),
        Err(_) => copy(&real, to).map_err(|error| at(to, error)),
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut target = OpenOptions::new().write(true).create_new(true).open(to)?;
    io::copy(&mut source, &mut target)?;
    target.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_never_written_into() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two, three] = ["one", "two", "three"].map(|name| folder.path().join(name));
        fs::write(&one, b"weights").unwrap();
        share(&one, &two).unwrap();
        // the same file by two names: a copy onto it would empty both
        let error = share(&one, &two).unwrap_err();
        assert!(
            matches!(&error, Error::Io { path, .. } if *path == two),
            "{error}"
        );
        assert!(copy(&one, &two).is_err());
        assert_eq!(fs::read(&one).unwrap(), b"weights");
        copy(&one, &three).unwrap();
        assert_eq!(fs::read(&three).unwrap(), b"weights");
    }

    #[test]
    fn what_a_link_leads_to_is_shared() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("snapshot")).unwrap();
        fs::write(folder.path().join("blob"), b"weights").unwrap();
        let link = folder.path().join("snapshot/weights");
        std::os::unix::fs::symlink("../blob", &link).unwrap();
        let to = folder.path().join("mine");
        share(&link, &to).unwrap();
        assert!(to.symlink_metadata().unwrap().is_file());
        assert_eq!(fs::read(&to).unwrap(), b"weights");
    }
}
