//! Whether two runs made a reading in one way: only then it is one column.

use super::{run::MethodRun, sheet::SheetError};
use std::collections::BTreeSet;

/// Whether every column would hold readings made in one way.
pub(super) fn same_way(runs: &[MethodRun]) -> Result<(), SheetError> {
    let mut names = BTreeSet::new();
    for (number, run) in runs.iter().enumerate() {
        if !names.insert(run.method()) {
            return Err(SheetError::Twice(run.method().to_owned()));
        }
        for earlier in &runs[..number] {
            for reading in run.readings.keys() {
                if let Some(what) = difference(earlier, run, reading) {
                    return Err(SheetError::Mixed {
                        reading: reading.clone(),
                        what,
                    });
                }
            }
        }
    }
    Ok(())
}

/// How two runs made one reading differently: versions and settings of the metric, hashes of networks among them.
pub(crate) fn difference(a: &MethodRun, b: &MethodRun, reading: &str) -> Option<String> {
    let (one, other) = (a.header.metric_of(reading)?, b.header.metric_of(reading)?);
    let (left, right) = (a.method(), b.method());
    if one.version != other.version {
        return Some(format!(
            "`{left}` was scored by version {} of `{}`, `{right}` by version {}",
            one.version, one.metric, other.version
        ));
    }
    let mut found = Vec::new();
    differing("", &one.settings, &other.settings, &mut found);
    let (key, x, y) = found.into_iter().next()?;
    Some(format!(
        "`{left}` and `{right}` were not scored alike: {key} is {x} and {y}"
    ))
}

/// The leaves in which two values differ: path, one, other.
pub(crate) fn differing(
    path: &str,
    a: &serde_json::Value,
    b: &serde_json::Value,
    out: &mut Vec<(String, String, String)>,
) {
    use serde_json::Value;
    match (a, b) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let path = match path.is_empty() {
                    true => key.clone(),
                    false => format!("{path}.{key}"),
                };
                let nothing = Value::Null;
                differing(
                    &path,
                    one.get(key).unwrap_or(&nothing),
                    other.get(key).unwrap_or(&nothing),
                    out,
                );
            }
        }
        _ if a == b => {}
        _ => out.push((path.to_owned(), a.to_string(), b.to_string())),
    }
}
