//! The folder of an export: made beside its place under another name, renamed when it is whole.

use super::{Done, Item, Media, Options};
use crate::finished::Error;
use omni_media::Window;
use serde_json::{Map, Value, json};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

/// Says what a folder holds; written last.
const ABOUT: &str = "export.json";

/// A folder on its way; dropped before it is published, it is removed.
pub(super) struct Staging {
    path: PathBuf,
    /// Where it will be.
    pub(super) to: PathBuf,
    media: Media,
    published: bool,
}

fn parts(to: &Path) -> Result<(PathBuf, String), Error> {
    let name = to.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| Error::Folder {
        path: to.to_owned(),
        what: "is no name for a folder".into(),
    })?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((parent.map_or_else(|| PathBuf::from("."), Path::to_owned), name))
}

/// The export that a folder holds, when it is this one and its files are there.
pub(super) fn find(to: &Path, fingerprint: &str) -> Result<Option<Done>, Error> {
    let mut entries = match fs::read_dir(to) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(to)(error)),
    };
    let Some(about) = read(to) else {
        return match entries.next() {
            None => Ok(None),
            Some(_) => Err(Error::Folder {
                path: to.to_owned(),
                what: "holds something that is no export; give a new folder as --out".into(),
            }),
        };
    };
    let whole = about["files"].as_object().is_some_and(|files| {
        files
            .iter()
            .all(|(name, bytes)| fs::metadata(to.join(name)).is_ok_and(|data| json!(data.len()) == *bytes))
    });
    if about["fingerprint"] != fingerprint || !whole {
        return Ok(None);
    }
    let left = serde_json::from_value(about["left"].clone()).unwrap_or_default();
    Ok(Some(Done {
        clips: about["clips"].as_u64().unwrap_or_default(),
        left,
        was_there: true,
    }))
}

fn read(folder: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(folder.join(ABOUT)).ok()?).ok()
}

impl Staging {
    pub(super) fn new(options: &Options) -> Result<Staging, Error> {
        let (parent, name) = parts(&options.to)?;
        fs::create_dir_all(&parent).map_err(Error::io(&parent))?;
        sweep(&parent, &name)?;
        let path = parent.join(format!(".{name}.{}.exporting", process::id()));
        fs::create_dir_all(&path).map_err(Error::io(&path))?;
        Ok(Staging {
            path,
            to: options.to.clone(),
            media: options.media,
            published: false,
        })
    }

    /// What happens to media files.
    pub(super) fn media_kind(&self) -> Media {
        self.media
    }

    /// A path inside, its folder made.
    pub(super) fn path(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        Ok(path)
    }

    /// Writes a file.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path(name)?;
        fs::write(&path, bytes).map_err(Error::io(&path))
    }

    /// Puts the clip's media file below `videos/` and returns its name there; none where media stay.
    pub(super) fn media(&self, item: &Item) -> Result<Option<String>, Error> {
        if self.media == Media::None {
            return Ok(None);
        }
        let name = format!("videos/{}", item.file());
        let path = self.path(&name)?;
        let archived = omni_media::split_window(&item.media).is_some();
        let linked = self.media == Media::Link && !archived && fs::hard_link(&item.media, &path).is_ok();
        if archived {
            let mut media = Window::open(&item.media)?;
            let mut file = fs::File::create(&path).map_err(Error::io(&path))?;
            std::io::copy(&mut media, &mut file).map_err(Error::io(&path))?;
        } else if !linked {
            fs::copy(&item.media, &path).map_err(Error::io(&item.media))?;
        }
        Ok(Some(name))
    }

    /// Writes faces and voices below `references/` and names them in the row's subjects and voices.
    pub(super) fn references(&self, item: &Item, row: &mut Map<String, Value>) -> Result<(), Error> {
        let mut voices = Map::new();
        for extra in &item.extras {
            let name = format!("references/{}", item.extra_file(extra));
            self.write(&name, &extra.bytes)?;
            let column = if extra.kind == "png" { "face" } else { "voice" };
            let mut subjects = row
                .get_mut("subjects")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten();
            match subjects.find(|subject| format!("sub{}", subject["subject"]) == extra.who) {
                Some(subject) => subject[column] = json!(name),
                None => {
                    voices.insert(extra.who.clone(), json!(name));
                }
            }
        }
        row.insert("other_voices".into(), Value::Object(voices));
        Ok(())
    }

    /// Gives the folder its name. An older export that lies there goes.
    pub(super) fn publish(mut self, mut about: Value) -> Result<(), Error> {
        let mut files = Map::new();
        sizes(&self.path, "", &mut files)?;
        about["files"] = Value::Object(files);
        let text = serde_json::to_string_pretty(&about).unwrap_or_default() + "\n";
        self.write(ABOUT, text.as_bytes())?;
        let (parent, name) = parts(&self.to)?;
        let old = parent.join(format!(".{name}.{}.replaced", process::id()));
        let replaced = self.to.exists();
        if replaced {
            fs::rename(&self.to, &old).map_err(Error::io(&self.to))?;
        }
        fs::rename(&self.path, &self.to).map_err(Error::io(&self.to))?;
        self.published = true;
        if replaced {
            fs::remove_dir_all(&old).map_err(Error::io(&old))?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_dir_all(&self.path); // else the next export sweeps it
        }
    }
}

fn sizes(folder: &Path, prefix: &str, files: &mut Map<String, Value>) -> Result<(), Error> {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .map_err(Error::io(folder))?
        .flatten()
        .collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let data = entry.metadata().map_err(Error::io(folder))?;
        if data.is_dir() {
            sizes(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.insert(name, json!(data.len()));
        }
    }
    Ok(())
}

/// Removes what killed exports left here. One killed between its two renames has its old folder put back.
fn sweep(parent: &Path, name: &str) -> Result<(), Error> {
    for entry in fs::read_dir(parent).map_err(Error::io(parent))?.flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let Some((pid, state)) = file
            .strip_prefix(&format!(".{name}."))
            .and_then(|rest| rest.split_once('.'))
        else {
            continue;
        };
        let ours = matches!(state, "exporting" | "replaced") && pid.parse::<u32>().is_ok();
        if !ours || Path::new("/proc").join(pid).exists() {
            continue;
        }
        let to = parent.join(name);
        if state == "replaced" && !to.exists() {
            fs::rename(entry.path(), &to).map_err(Error::io(&to))?;
        } else {
            fs::remove_dir_all(entry.path()).map_err(Error::io(&entry.path()))?;
        }
    }
    Ok(())
}
