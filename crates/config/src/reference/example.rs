//! An example table of a plugin that has none of its own: every option that must be given, with a value of its kind.

use serde_json::{Map, Value as Json, json};

use super::rows::{DEEPEST, choices, quoted, resolve, toml_text};

/// The lines of an example table with this schema; what it refers to is in its own `definitions`.
pub(super) fn of(root: &Json) -> String {
    let lines = required(root, root, 0);
    let lines = lines.iter().map(|(key, value)| format!("{} = {}", quoted(key), toml_text(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// A value for each option of a table that must be given.
fn required(root: &Json, table: &Json, depth: usize) -> Map<String, Json> {
    let keys = table.get("required").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let option = |key: &str| table.get("properties").and_then(|all| all.get(key));
    let values =
        keys.iter().filter_map(Json::as_str).map(|key| (key.to_owned(), value(root, option(key), depth + 1)));
    values.collect()
}

/// What the schema names as an example, else something of its kind.
fn value(root: &Json, schema: Option<&Json>, depth: usize) -> Json {
    let Some(schema) = schema.filter(|_| depth <= DEEPEST) else { return json!("…") };
    let named = |schema: &Json| {
        let first =
            |list: &str| schema.get(list).and_then(Json::as_array).and_then(|all| all.first()).cloned();
        first("examples").or_else(|| schema.get("const").cloned()).or_else(|| first("enum"))
    };
    let own = named(schema);
    let schema = resolve(root, schema);
    if let Some(named) = own.or_else(|| named(schema)) {
        return named;
    }
    if let Some(choice) = choices(schema).first() {
        return value(root, Some(choice), depth + 1);
    }
    let kind = match schema.get("type") {
        Some(Json::Array(kinds)) => kinds.iter().filter_map(Json::as_str).find(|kind| *kind != "null"),
        kind => kind.and_then(Json::as_str),
    };
    match kind {
        Some("boolean") => json!(true),
        // None is a number, but seldom what is meant.
        Some("integer" | "number") => match schema.get("minimum") {
            Some(least) if least.as_f64().is_some_and(|least| least > 0.0) => least.clone(),
            _ => json!(1),
        },
        Some("array") => json!([value(root, schema.get("items"), depth + 1)]),
        Some("object") => match schema.get("additionalProperties").filter(|values| values.is_object()) {
            Some(values) => json!({ "NAME": value(root, Some(values), depth + 1) }),
            None => Json::Object(required(root, schema, depth)),
        },
        _ => json!("text"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemars::{JsonSchema, generate::SchemaSettings};
    use vllm_gateway_sdk::{DurationText, SecretRef};

    use super::*;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema counts")]
    struct Options {
        greeting: String,
        #[schemars(example = &"moin")]
        word: String,
        wait: DurationText,
        token: SecretRef,
        rate: std::num::NonZeroU32,
        share: f64,
        strict: bool,
        mode: Mode,
        names: Vec<String>,
        limits: BTreeMap<String, Limit>,
        inner: Limit,
        left_out: Option<u32>,
    }

    #[derive(JsonSchema)]
    #[schemars(rename_all = "kebab-case")]
    #[expect(dead_code, reason = "only its schema counts")]
    enum Mode {
        VeryGentle,
        Strict,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema counts")]
    struct Limit {
        burst: u32,
        #[schemars(default)]
        spare: u32,
    }

    #[test]
    fn every_option_that_must_be_given_has_a_value_of_its_kind() {
        let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Options>();
        let wanted = "\
greeting = \"text\"
word = \"moin\"
wait = \"30s\"
token = \"env:NAME\"
rate = 1
share = 1
strict = true
mode = \"very-gentle\"
names = [\"text\"]
limits = { NAME = { burst = 1 } }
inner = { burst = 1 }";
        assert_eq!(of(&schema.to_value()), wanted);
    }

    #[test]
    fn a_type_that_holds_itself_ends() {
        let node = json!({"type": "object", "required": ["child"], "properties": {"child": {"$ref": "#/definitions/node"}}});
        let schema = json!({
            "type": "object", "required": ["child"], "properties": {"child": {"$ref": "#/definitions/node"}},
            "definitions": {"node": node},
        });
        assert!(of(&schema).starts_with("child = { child = { child = "));
    }
}
