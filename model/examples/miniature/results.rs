//! The file of a result, and what it was made with: one made as it is asked for is done, one made otherwise is refused.

use omni_model::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt, fs, path::Path};

/// Raised when equal settings give other results: after changes of the world, of a row, its network or recipe, or of what is read.
const VERSION: u32 = 1;

/// What decides a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    version: u32,
    row: String,
    seed: u64,
    steps: u64,
    clips: u64,
    /// Of the backbone that it begins from.
    backbone: Option<Box<Settings>>,
}

impl Settings {
    /// Those of `row`, which is trained for `steps` (a row of the table for so many a part) and sampled for `clips` of each kind.
    pub fn new(row: &str, seed: u64, steps: u64, clips: u64) -> Self {
        Self {
            version: VERSION,
            row: row.to_owned(),
            seed,
            steps,
            clips,
            backbone: None,
        }
    }

    /// The same, begun from the backbone whose result lies at `path`. Fails if none does.
    pub fn begun_from(self, path: &Path) -> Result<Self> {
        let backbone = read(path)?;
        if backbone.row != "backbone" {
            return Err(Error::Input(format!(
                "{} holds {backbone}, and a row begins from a backbone",
                path.display()
            )));
        }
        Ok(Self {
            backbone: Some(Box::new(backbone)),
            ..self
        })
    }

    /// Whether the result at `path` is there. Fails if it was made with other settings.
    pub fn made(&self, path: &Path) -> Result<bool> {
        if !path.exists() {
            return Ok(false);
        }
        let found = read(path)?;
        if found == *self {
            return Ok(true);
        }
        Err(Error::Input(format!(
            "{} was made with {found}; asked for is {self}: take another folder, or remove this one with all that is in it",
            path.display()
        )))
    }

    /// Writes a result of these settings.
    pub fn write(&self, path: &Path, mut result: serde_json::Map<String, Value>) -> Result<()> {
        result.insert(
            "settings".to_owned(),
            serde_json::to_value(self).map_err(said(path))?,
        );
        let beside = path.with_extension("unfinished");
        fs::write(&beside, Value::Object(result).to_string()).map_err(io(&beside))?;
        fs::rename(&beside, path).map_err(io(path))
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            version,
            row,
            seed,
            steps,
            clips,
            backbone,
        } = self;
        write!(
            to,
            "{row} (seed {seed}, {steps} steps, {clips} clips, version {version})"
        )?;
        match backbone {
            Some(backbone) => write!(to, " from {backbone}"),
            None => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<Settings> {
    let text = fs::read_to_string(path).map_err(io(path))?;
    let mut result: Value = serde_json::from_str(&text).map_err(said(path))?;
    serde_json::from_value(result["settings"].take()).map_err(said(path))
}

fn said(path: &Path) -> impl FnOnce(serde_json::Error) -> Error + '_ {
    move |error| {
        Error::Input(format!(
            "{} does not say with which settings it was made ({error}): remove it, and its folder if all are so",
            path.display()
        ))
    }
}

/// What could not be read or written.
pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    move |source| Error::Io {
        path: path.to_owned(),
        source,
    }
}

/// Seconds of processor time of this process, all threads; absent where the system does not say so as Linux does.
pub fn processor_seconds() -> Option<f64> {
    let line = fs::read_to_string("/proc/self/stat").ok()?;
    // behind the program's name, which may hold anything: state, ten more numbers, then user and system time, hundredths
    let (_, numbers) = line.rsplit_once(')')?;
    let hundredths = numbers.split_whitespace().skip(11).take(2);
    let hundredths: Vec<f64> = hundredths
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    (hundredths.len() == 2).then(|| hundredths.iter().sum::<f64>() / 100.0)
}
