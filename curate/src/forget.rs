//! What `omni forget` takes out beside the run itself: selections, pools and the report, and who an identity is.

use crate::{finished::Error, report, review};
use omni_manifests::{read_part, rewrite_part};
use omni_pipeline::Forgot;
use omni_schemas::{Identity, Record, Selection};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The clips in which an identity of a pool appears; nothing when the pool has no such identity.
///
/// # Errors
/// When the pool cannot be read.
pub fn clips_of(pool: &Path, identity: &str) -> Result<Option<BTreeSet<String>>, Error> {
    let (rows, _) = read_part::<Identity>(&pool.join("identity.parquet"))?;
    let found = rows.into_iter().find(|row| row.identity == identity);
    Ok(found.map(|row| row.members.into_iter().map(|member| member.clip).collect()))
}

/// What was, or would be, taken out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// Rows by manifest.
    pub rows: BTreeMap<PathBuf, u64>,
    /// Files of the report.
    pub report: Vec<PathBuf>,
    /// Verdicts of `omni review`.
    pub verdicts: u64,
}

/// Takes the clips out of the selections and pools in the folder `out`, and out of its report. An identity that
/// appears in one of the clips goes whole, because its mean vectors hold that face and voice; `omni pool` makes it anew
/// from the clips that stay. Pools go last: they say who an identity is, should the command be given again.
///
/// # Errors
/// When a manifest cannot be read or written.
pub fn forget_beside(
    out: &Path,
    clips: &BTreeSet<String>,
    run: &Forgot,
    write: bool,
) -> Result<Beside, Error> {
    let mut beside = Beside {
        report: report::files_of(out, &run.shards)?,
        verdicts: review::forget(out, clips, write)?,
        ..Beside::default()
    };
    if write {
        // The index first: the page must not ask for what is gone.
        for path in beside.report.iter().rev() {
            fs::remove_file(path).or_else(missing).map_err(Error::io(path))?;
        }
    }
    for path in manifests(out, Selection::NAME)? {
        take::<Selection>(&path, clips, write, &mut beside)?;
    }
    for path in manifests(out, Identity::NAME)? {
        let (rows, _) = read_part::<Identity>(&path)?;
        let touched = |row: &Identity| row.members.iter().any(|member| clips.contains(&member.clip));
        let gone = rows
            .iter()
            .filter(|row| touched(row))
            .map(|row| row.identity.clone());
        take::<Identity>(&path, &gone.collect(), write, &mut beside)?;
    }
    Ok(beside)
}

fn missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

/// `OUT/*/<record>.parquet`, by name.
fn manifests(out: &Path, record: &str) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(out).map_err(Error::io(out))? {
        let path = entry
            .map_err(Error::io(out))?
            .path()
            .join(format!("{record}.parquet"));
        if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn take<R: Record>(
    path: &Path,
    gone: &BTreeSet<String>,
    write: bool,
    beside: &mut Beside,
) -> Result<(), Error> {
    let counted = rewrite_part(path, &R::columns(), &[], gone, |_| {}, false)?;
    if counted.rows > 0 {
        if write {
            rewrite_part(path, &R::columns(), &[], gone, |_| {}, true)?;
        }
        beside.rows.insert(path.to_owned(), counted.rows);
    }
    Ok(())
}
