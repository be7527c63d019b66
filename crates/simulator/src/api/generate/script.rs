//! Text that has to be JSON: the arguments of tools, and answers with a schema.

use serde_json::{Map, Value, json};

/// Nested deeper than this a schema is answered with null.
const MAX_DEPTH: usize = 32;

/// The arguments of a call of this tool.
pub(crate) fn tool_arguments(tool: &Value) -> String {
    conforming(&tool["function"]["parameters"])
}

/// JSON that fits a schema, as far as it says types, enums and properties.
pub(crate) fn conforming(schema: &Value) -> String {
    value(schema, 0).to_string()
}

fn value(schema: &Value, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    if let Some(fixed) = schema.get("const") {
        return fixed.clone();
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    if let Some(first) = ["anyOf", "oneOf"].iter().find_map(|name| schema[*name].as_array()?.first()) {
        return value(first, depth + 1);
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("string") => text(schema),
        Some("integer") => schema.get("minimum").filter(|least| least.is_i64()).cloned().unwrap_or(json!(7)),
        Some("number") => schema.get("minimum").cloned().unwrap_or(json!(0.5)),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        Some("array") => {
            let least = schema["minItems"].as_u64().unwrap_or(1).clamp(1, 16);
            Value::Array((0..least).map(|_| value(&schema["items"], depth + 1)).collect())
        }
        _ => object(schema, depth),
    }
}

fn text(schema: &Value) -> Value {
    let most = schema["maxLength"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    json!("Berlin and beyond".chars().take(most).collect::<String>())
}

fn object(schema: &Value, depth: usize) -> Value {
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let members = properties.iter().map(|(name, schema)| (name.clone(), value(schema, depth + 1)));
    Value::Object(members.collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn arguments_fit_the_schema() {
        let schema = json!({"type": "object", "properties": {
            "city": {"type": "string", "maxLength": 6}, "unit": {"enum": ["c", "f"]},
            "days": {"type": "array", "items": {"type": "integer", "minimum": 3}}, "ok": {"type": ["boolean", "null"]}}});
        let made: Value = serde_json::from_str(&conforming(&schema)).unwrap();
        assert_eq!(made, json!({"city": "Berlin", "unit": "c", "days": [3], "ok": true}));
    }

    #[test]
    fn a_schema_without_end_ends() {
        let mut schema = json!({"type": "string"});
        for _ in 0..100 {
            schema = json!({"type": "array", "items": schema});
        }
        assert!(conforming(&schema).contains("null"));
    }
}
