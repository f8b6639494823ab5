//! Drops that were of their time: a clip whose file was not there, or was damaged, and is another now. The stage is a function of
//! what curation told and of the clip's file; the file is no part of a part's receipt, so what it was is told by times.

use super::Curated;
use anyhow::Context;
use omni_manifests::read_receipt;
use omni_media::{Window, split_window};
use omni_pipeline::{Plan, RunOptions, readers::Run};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Parts to be made again.
#[derive(Debug, Default)]
pub struct Again {
    parts: Vec<PathBuf>,
    clips: usize,
}

impl Again {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// What is said of them.
    pub fn words(&self) -> String {
        format!(
            "{} clips that were dropped are tried again: their files were not there, or have changed since ({} shards are made anew)",
            self.clips,
            self.parts.len()
        )
    }

    /// Removes them, so that the run makes them.
    pub fn clear(&self) -> anyhow::Result<()> {
        for part in &self.parts {
            for path in [part.clone(), part.with_extension("tar")] {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(error).with_context(|| format!("{} cannot be removed", path.display()));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// This worker's parts of the plan in which a clip was dropped whose file is there at last, or was changed after the part was
/// written.
pub fn again(plan: &Plan, options: &RunOptions, curated: &Curated) -> anyhow::Result<Again> {
    let mut found = Again::default();
    // no run yet, or one that the run itself will make sound again
    let Ok(run) = Run::open(&options.out) else {
        return Ok(found);
    };
    let own = |fingerprint: &str| plan.steps().iter().any(|step| step.fingerprint == fingerprint);
    let Some(stage) = run.file().stages.iter().find(|stage| own(&stage.fingerprint)) else {
        return Ok(found);
    };
    for shard in (options.rank..run.shards().count()).step_by(options.world) {
        let part = run.shard_part(stage, shard);
        let (Ok(receipt), Some(written)) = (read_receipt(&part), changed(&part, false)) else {
            continue;
        };
        let passed = |(clip, reason): &(&String, &String)| {
            let known = curated.clips.get(*clip);
            known.is_some_and(|known| has_passed(&options.root.join(&known.path), reason, written))
        };
        let clips = receipt.drops.iter().filter(passed).count();
        if clips > 0 {
            found.clips += clips;
            found.parts.push(part);
        }
    }
    Ok(found)
}

/// Whether a drop may be none now.
fn has_passed(media: &Path, reason: &str, written: Time) -> bool {
    if Window::open(media).is_err() {
        return false;
    }
    let archive = split_window(media).map(|(archive, ..)| archive);
    let changed = changed(archive.as_deref().unwrap_or(media), true);
    reason == "not_found" || changed.is_some_and(|changed| changed > written)
}

/// Seconds and nanoseconds.
type Time = (i64, i64);

/// When a file's content came; `status` counts its coming under this name too: a copy may keep the time of its content.
fn changed(path: &Path, status: bool) -> Option<Time> {
    use std::os::unix::fs::MetadataExt;
    let data = fs::metadata(path).ok()?;
    let content = (data.mtime(), data.mtime_nsec());
    Some(if status {
        content.max((data.ctime(), data.ctime_nsec()))
    } else {
        content
    })
}
