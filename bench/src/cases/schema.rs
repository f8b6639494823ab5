//! A record as JSON Schema, from its columns.

use omni_schemas::{Column, Kind};
use serde_json::{Map, Value, json};

/// The JSON Schema (draft 2020-12) of a record. Fields that are null when absent may be left out.
pub fn json_schema(name: &str, columns: &[Column]) -> Value {
    let mut schema = object(columns);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(name);
    schema
}

/// What a description says of a column that may be left out.
fn optional(column: &Column) -> bool {
    column.about.contains("null") || column.kind == Kind::Bool
}

fn object(columns: &[Column]) -> Value {
    let mut properties = Map::new();
    for column in columns {
        let mut schema = of(&column.kind);
        schema["description"] = json!(column.about);
        if optional(column)
            && let Some(kind) = schema.get("type").cloned().filter(Value::is_string)
        {
            schema["type"] = json!([kind, "null"]);
        }
        properties.insert(column.name.to_owned(), schema);
    }
    let required: Vec<&str> = columns
        .iter()
        .filter(|column| !optional(column))
        .map(|column| column.name)
        .collect();
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

fn of(kind: &Kind) -> Value {
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::I64 => json!({ "type": "integer" }),
        Kind::F64 => json!({ "type": "number" }),
        Kind::Text => json!({ "type": "string" }),
        Kind::List(inner) => json!({ "type": "array", "items": of(inner) }),
        Kind::Struct(fields) => object(fields),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_schemas::{Case, Record};

    #[test]
    fn what_may_be_left_out_is_what_the_reader_lets_go() {
        let schema = json_schema("case", &Case::columns());
        assert_eq!(
            schema["required"],
            json!(["case", "subset", "prompt", "subjects", "utterances"])
        );
        assert_eq!(
            schema["properties"]["audio_caption"]["type"],
            json!(["string", "null"])
        );
        let subject = &schema["properties"]["subjects"]["items"];
        assert_eq!(subject["required"], json!(["anchor"]));
        assert_eq!(subject["additionalProperties"], json!(false));
        let least = json!({"case": "a", "subset": 1, "prompt": "", "subjects": [{"anchor": "<sub1>"}], "utterances": []});
        assert!(serde_json::from_value::<Case>(least).is_ok());
    }
}
