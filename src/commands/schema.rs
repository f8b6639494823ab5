//! `omni schema`: the JSON Schema of a record.

use crate::{exit::Code, output};

/// Runs the command.
pub fn run(record: &str) -> anyhow::Result<Code> {
    let Some((name, _, columns)) = omni_schemas::ALL.iter().find(|(name, ..)| *name == record) else {
        return Err(super::no_record(record));
    };
    output::line(&serde_json::to_string_pretty(&omni_bench::cases::json_schema(
        name,
        &columns(),
    ))?)?;
    Ok(Code::Done)
}
