//! What a folder already is, so that no command writes among another's files.

use crate::exit::usage;
use serde_json::Value;
use std::path::Path;

/// Whose folder it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `omni model`, or a state of `omni train`.
    Checkpoint,
    /// `omni curate`.
    Curation,
    /// `omni encode`.
    Latents,
    /// `omni train`.
    Training,
    /// `omni bench run`.
    Scores,
}

impl Kind {
    /// As its files tell it; `None` for a folder that is not there or says nothing.
    pub fn of(folder: &Path) -> Option<Self> {
        if is_checkpoint(folder) {
            return Some(Self::Checkpoint);
        }
        let text = std::fs::read(folder.join("run.json")).ok()?;
        let run: Value = serde_json::from_slice(&text).ok()?;
        match (run["stages"].is_array(), run["source"].as_str()) {
            (true, Some("selection")) => Some(Self::Latents),
            (true, Some("generations")) => Some(Self::Scores),
            (true, _) => Some(Self::Curation),
            (false, _) => (run["recipe"].is_object() && run["data"].is_array()).then_some(Self::Training),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Checkpoint => "a checkpoint",
            Self::Curation => "the output of `omni curate`",
            Self::Latents => "the output of `omni encode`",
            Self::Training => "a run of `omni train`",
            Self::Scores => "the output of `omni bench run`",
        }
    }
}

/// A `config.toml` that describes a backbone; one that is damaged counts where weights lie beside it.
fn is_checkpoint(folder: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(folder.join("config.toml")) else {
        return false;
    };
    match toml::from_str::<toml::Table>(&text) {
        Ok(table) => table.contains_key("backbone"),
        Err(_) => folder.join("model.safetensors").is_file(),
    }
}

/// Fails on a folder that is another command's; `own` are kinds that may be written to.
pub fn refuse(folder: &Path, own: &[Kind]) -> anyhow::Result<()> {
    match Kind::of(folder).filter(|kind| !own.contains(kind)) {
        None => Ok(()),
        Some(kind) => Err(usage(format!(
            "--out {} is {}, whose files stay as they are; give another folder",
            folder.display(),
            kind.words()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_known_by_what_lies_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let kind = |name: &str, text: &str| {
            let below = tempfile::tempdir_in(folder.path()).unwrap();
            std::fs::write(below.path().join(name), text).unwrap();
            Kind::of(below.path())
        };
        assert_eq!(Kind::of(&folder.path().join("none")), None);
        assert_eq!(kind("config.toml", "title = 1"), None);
        assert_eq!(kind("config.toml", "[backbone.video]"), Some(Kind::Checkpoint));
        let run = |source: &str| kind("run.json", &format!(r#"{{"source": "{source}", "stages": []}}"#));
        assert_eq!(run("selection"), Some(Kind::Latents));
        assert_eq!(run("generations"), Some(Kind::Scores));
        assert_eq!(run("openhumanvid"), Some(Kind::Curation));
        assert_eq!(
            kind("run.json", r#"{"recipe": {}, "data": []}"#),
            Some(Kind::Training)
        );
        assert_eq!(kind("run.json", "no json"), None);
    }
}
