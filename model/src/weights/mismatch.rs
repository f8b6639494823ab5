//! How a checkpoint and a network differ, told whole.

use std::fmt;

/// Names listed of each kind before the rest is counted.
const LISTED: usize = 12;

/// A tensor of another shape than the network's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongShape {
    /// Its name.
    pub name: String,
    /// What the network needs.
    pub needed: Vec<usize>,
    /// What the checkpoint has.
    pub found: Vec<usize>,
}

impl WrongShape {
    pub(super) fn new(name: &str, needed: &[usize], found: &[usize]) -> Self {
        Self {
            name: name.to_owned(),
            needed: needed.to_vec(),
            found: found.to_vec(),
        }
    }
}

/// The tensors of a checkpoint are not those of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Where the tensors came from.
    pub source: String,
    /// Needed and absent.
    pub missing: Vec<String>,
    /// Of another shape.
    pub wrong: Vec<WrongShape>,
    /// Present and not asked for.
    pub extra: Vec<String>,
}

impl std::error::Error for Mismatch {}

impl Mismatch {
    pub(super) fn new(
        source: String,
        missing: Vec<String>,
        wrong: Vec<WrongShape>,
        mut extra: Vec<String>,
    ) -> Self {
        extra.sort();
        Self {
            source,
            missing,
            wrong,
            extra,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.wrong.is_empty() && self.extra.is_empty()
    }
}

/// The name among `names` that is most like `name`, if one is like it at all.
fn nearest<'a>(name: &str, names: &'a [String]) -> Option<&'a str> {
    let score = |other: &&String| strsim::normalized_damerau_levenshtein(name, other);
    let best = names
        .iter()
        .filter(|other| score(other) > 0.6)
        .max_by(|a, b| score(a).total_cmp(&score(b)))?;
    Some(best)
}

fn list(f: &mut fmt::Formatter<'_>, title: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    write!(f, "\n  {title} ({}):", lines.len())?;
    for line in lines.iter().take(LISTED) {
        write!(f, "\n    {line}")?;
    }
    if lines.len() > LISTED {
        write!(f, "\n    and {} more", lines.len() - LISTED)?;
    }
    Ok(())
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not fit the network", self.source)?;
        // only what is printed is compared with everything: a full-size checkpoint has thousands of names
        let missing: Vec<String> = self
            .missing
            .iter()
            .enumerate()
            .map(
                |(at, name)| match (at < LISTED).then(|| nearest(name, &self.extra)).flatten() {
                    Some(near) => format!("`{name}` (the file has `{near}`)"),
                    None => format!("`{name}`"),
                },
            )
            .collect();
        list(f, "missing", &missing)?;
        let shape =
            |wrong: &WrongShape| format!("`{}` is {:?}, needed {:?}", wrong.name, wrong.found, wrong.needed);
        list(
            f,
            "wrong shape",
            &self.wrong.iter().map(shape).collect::<Vec<_>>(),
        )?;
        let extra: Vec<String> = self.extra.iter().map(|name| format!("`{name}`")).collect();
        list(f, "not part of the network", &extra)?;
        if self.extra.iter().any(|name| name.contains(".lora_")) {
            write!(
                f,
                "\n  low-rank additions of a run: `omni train export RUN --out DIR` folds them into the weights"
            )?;
        }
        Ok(())
    }
}
