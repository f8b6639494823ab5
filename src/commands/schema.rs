//! `omni schema`: the JSON Schema of a record.

use crate::{
    exit::{Code, usage},
    output,
};
use omni_curate::recipe::nearest;

/// Runs the command.
pub fn run(record: &str) -> anyhow::Result<Code> {
    let Some((name, _, columns)) = omni_schemas::ALL.iter().find(|(name, ..)| *name == record) else {
        let known: Vec<&str> = omni_schemas::ALL.iter().map(|(name, ..)| *name).collect();
        let hint = nearest(record, known.iter().copied());
        let hint = hint
            .map(|name| format!(" (did you mean `{name}`?)"))
            .unwrap_or_default();
        return Err(usage(format!(
            "no record `{record}`{hint}; there are: {}",
            known.join(", ")
        )));
    };
    output::line(&serde_json::to_string_pretty(&omni_bench::cases::json_schema(
        name,
        &columns(),
    ))?)?;
    Ok(Code::Done)
}
