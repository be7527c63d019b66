//! Flattens a JSON Schema into one row for each option.

use serde_json::Value as Json;

/// One option.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its key; parts of inner tables are written `outer.inner`, of lists `list[].inner`, of maps `map.NAME.inner`.
    pub(super) key: String,
    /// What can stand there.
    pub(super) kind: String,
    /// What holds without it, as it would be written; `None` if that is nothing.
    pub(super) default: Option<String>,
    pub(super) required: bool,
    pub(super) meaning: String,
}

/// All options of the table with this schema; what it refers to is in its own `definitions`.
pub(super) fn rows(root: &Json) -> Vec<Row> {
    let mut rows = Vec::new();
    table(root, root, "", 0, &mut rows);
    rows
}

/// A type that holds itself would go on for ever.
pub(super) const DEEPEST: usize = 6;

fn table(root: &Json, schema: &Json, prefix: &str, depth: usize, rows: &mut Vec<Row>) {
    let schema = resolve(root, schema);
    let Some(properties) = schema.get("properties").and_then(Json::as_object) else { return };
    let required = |key: &str| {
        let list = schema.get("required").and_then(Json::as_array);
        list.is_some_and(|list| list.iter().any(|name| name == key))
    };
    // Without an order of its own the map sorts by name; what must be given still comes first.
    let mut keys: Vec<(&String, &Json)> = properties.iter().collect();
    keys.sort_by_key(|(key, _)| !required(key));
    for (key, option) in keys {
        let path = format!("{prefix}{}", quoted(key));
        rows.push(Row {
            kind: kind(root, option),
            default: option.get("default").filter(|default| !default.is_null()).map(toml_text),
            required: required(key),
            meaning: meaning(root, option),
            key: path.clone(),
        });
        if depth < DEEPEST {
            inner(root, option, &path, depth + 1, rows);
        }
    }
}

/// The options of tables inside an option.
fn inner(root: &Json, schema: &Json, path: &str, depth: usize, rows: &mut Vec<Row>) {
    let schema = resolve(root, schema);
    for choice in choices(schema) {
        inner(root, choice, path, depth, rows);
    }
    if let Some(items) = schema.get("items") {
        inner(root, items, &format!("{path}[]"), depth, rows);
    } else if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        inner(root, values, &format!("{path}.NAME"), depth, rows);
    } else {
        table(root, schema, &format!("{path}."), depth, rows);
    }
}

/// What can stand there, in a few words.
fn kind(root: &Json, schema: &Json) -> String {
    let schema = resolve(root, schema);
    if let Some(value) = schema.get("const") {
        return toml_text(value);
    }
    let values = schema.get("enum").and_then(Json::as_array);
    if let Some(values) = values {
        return or(values.iter().filter(|value| !value.is_null()).map(toml_text));
    }
    let choices = choices(schema);
    if !choices.is_empty() {
        return or(choices.into_iter().map(|choice| kind(root, choice)));
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(several)) => several.iter().filter_map(Json::as_str).collect(),
        _ => return "any value".to_owned(),
    };
    let title = schema.get("title").and_then(Json::as_str);
    let word = |name: &str| match name {
        "string" => title.unwrap_or("string").to_owned(),
        "array" => match schema.get("items") {
            Some(items) => format!("list of {}", kind(root, items)),
            None => "list".to_owned(),
        },
        "object" => match schema.get("additionalProperties").filter(|values| values.is_object()) {
            Some(values) => format!("table of {}", kind(root, values)),
            None => "table".to_owned(),
        },
        "boolean" => "true or false".to_owned(),
        other => other.to_owned(),
    };
    or(types.into_iter().filter(|name| *name != "null").map(word))
}

/// The schemas of which one holds, without the one for nothing.
pub(super) fn choices(schema: &Json) -> Vec<&Json> {
    let lists = ["anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array());
    lists.flatten().filter(|choice| choice.get("type").is_none_or(|kind| kind != "null")).collect()
}

fn meaning(root: &Json, schema: &Json) -> String {
    let own = schema.get("description").or_else(|| resolve(root, schema).get("description"));
    let text = own.and_then(Json::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Follows a reference, also one that is wrapped to stand beside a description.
pub(super) fn resolve<'s>(root: &'s Json, schema: &'s Json) -> &'s Json {
    let mut here = schema;
    for _ in 0..=DEEPEST {
        let wrapped = here
            .get("allOf")
            .and_then(Json::as_array)
            .filter(|all| all.len() == 1)
            .and_then(|all| all.first());
        let name =
            here.get("$ref").and_then(Json::as_str).and_then(|path| path.strip_prefix("#/definitions/"));
        let next = match (name, wrapped) {
            (Some(name), _) => root.get("definitions").and_then(|all| all.get(name)),
            (None, wrapped) => wrapped,
        };
        match next {
            Some(next) => here = next,
            None => return here,
        }
    }
    here
}

fn or(words: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = words.collect();
    words.dedup();
    words.join(" or ")
}

/// A JSON value as TOML; the two differ in tables only, and no default has members.
pub(super) fn toml_text(value: &Json) -> String {
    match value {
        Json::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(key, value)| format!("{} = {}", quoted(key), toml_text(value)))
                .collect();
            if members.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", members.join(", ")) }
        }
        Json::Array(items) => format!("[{}]", items.iter().map(toml_text).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

pub(super) fn quoted(key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if plain { key.to_owned() } else { Json::from(key).to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::UpstreamOptions;

    use super::{super::of_struct, *};

    #[test]
    fn options_of_inner_tables_have_rows_of_their_own() {
        let (_, rows) = of_struct::<UpstreamOptions>();
        let row = |key: &str| rows.iter().find(|row| row.key == key).unwrap();
        assert_eq!(row("endpoints").kind, "list of table");
        assert_eq!((row("endpoints[].url").kind.as_str(), row("endpoints[].url").required), ("url", true));
        assert_eq!(row("endpoints[].weight").default.as_deref(), Some("1"));
        assert!(
            row("balance").kind.starts_with("\"round-robin\" or \"least-requests\""),
            "{}",
            row("balance").kind
        );
        assert_eq!(row("balance").default.as_deref(), Some("\"prefix\""));
        assert_eq!((row("api_key").kind.as_str(), row("api_key").default.as_ref()), ("secret", None));
        assert_eq!(row("gap_timeout").default.as_deref(), Some("\"2m\""));
        assert!(rows.iter().all(|row| !row.meaning.is_empty()), "{rows:?}");
    }

    #[test]
    fn a_type_that_holds_itself_ends() {
        let schema = serde_json::json!({
            "type": "object",
            "properties": {"child": {"$ref": "#/definitions/node"}},
            "definitions": {"node": {"type": "object", "properties": {"child": {"$ref": "#/definitions/node"}}}},
        });
        assert_eq!(rows(&schema).len(), DEEPEST + 1);
    }
}
