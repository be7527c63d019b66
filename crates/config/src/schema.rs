//! The JSON Schema of `gateway.toml`, options of all linked plugins included. Editors complete and check by it.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value as Json, json};
use vllm_gateway_sdk::plugins;

use crate::{
    AdminOptions, JournalOptions, MongodbOptions, PipelineOptions, ServerOptions, SqliteOptions,
    StoreOptions, UpstreamOptions,
};

/// The JSON Schema (draft 7, which the editors' TOML plugins understand) of `gateway.toml`.
#[must_use]
pub fn schema() -> Json {
    let mut generator = SchemaSettings::draft07().into_generator();
    let server = section::<ServerOptions>(&mut generator);
    let admin = section::<AdminOptions>(&mut generator);
    let pipeline = section::<PipelineOptions>(&mut generator);
    let upstream = section::<UpstreamOptions>(&mut generator);
    let filters = filters(&mut generator);
    let store = store(&mut generator);
    let journal = section::<JournalOptions>(&mut generator);
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "gateway.toml of vllm-gateway",
        "type": "object",
        "additionalProperties": false,
        "required": ["pipelines"],
        "properties": {
            "server": server,
            "admin": admin,
            "store": store,
            "journal": journal,
            "pipelines": named("Pipelines, by name.", &pipeline),
            "filters": filters,
            "upstreams": named("Upstreams, by name.", &upstream),
        },
        "definitions": generator.take_definitions(true),
    })
}

/// What the names of pipelines, filters and upstreams look like.
const NAME: &str = "^[A-Za-z0-9._-]{1,64}$";

fn section<T: JsonSchema>(generator: &mut SchemaGenerator) -> Json {
    generator.subschema_for::<T>().to_value()
}

fn named(description: &str, of: &Json) -> Json {
    json!({
        "type": "object",
        "description": description,
        "propertyNames": {"pattern": NAME},
        "additionalProperties": of,
    })
}

/// One of several structs, as `kind` decides.
fn store(generator: &mut SchemaGenerator) -> Json {
    let [sqlite, mongodb] = StoreOptions::KINDS;
    let sqlite_options =
        with_key(&SqliteOptions::json_schema(generator).to_value(), "kind", &json!({"const": sqlite}));
    let mongodb_options =
        with_key(&MongodbOptions::json_schema(generator).to_value(), "kind", &json!({"const": mongodb}));
    json!({
        "type": "object",
        "description": "Where apps and access-log records are kept.",
        "properties": {"kind": {"enum": StoreOptions::KINDS, "default": sqlite}},
        "if": {"properties": {"kind": {"const": mongodb}}, "required": ["kind"]},
        "then": mongodb_options,
        "else": sqlite_options,
    })
}

/// A table for each filter: its plugin is the one in `plugin`, else the one of its name.
fn filters(generator: &mut SchemaGenerator) -> Json {
    let mut by_name = Map::new();
    let mut by_plugin = Vec::new();
    let mut names = Vec::new();
    for plugin in plugins() {
        let mut options = (plugin.schema)(generator).to_value();
        if let Some(members) = options.as_object_mut() {
            members.remove("title");
            members.insert("description".to_owned(), json!(plugin.summary));
        }
        let key =
            json!({"const": plugin.name, "description": "The plugin; the name of the table is the default."});
        let definition = format!("filter-{}", plugin.name);
        generator.definitions_mut().insert(definition.clone(), with_key(&options, "plugin", &key));
        let reference = json!({"$ref": format!("#/definitions/{definition}")});
        by_name
            .insert(plugin.name.to_owned(), json!({"anyOf": [reference, {"$ref": "#/definitions/filter"}]}));
        by_plugin.push(json!({
            "if": {"properties": {"plugin": {"const": plugin.name}}, "required": ["plugin"]},
            "then": reference,
        }));
        names.push(plugin.name);
    }
    let any = json!({
        "type": "object",
        "required": ["plugin"],
        "properties": {"plugin": {"enum": names}},
        "allOf": by_plugin,
    });
    generator.definitions_mut().insert("filter".to_owned(), any);
    json!({
        "type": "object",
        "description": "Filters, by name. `plugin` names the plugin of each and defaults to the name.",
        "propertyNames": {"pattern": NAME},
        "properties": by_name,
        "additionalProperties": {"$ref": "#/definitions/filter"},
    })
}

/// The schema of a table in which one more key may stand, which its struct does not know.
fn with_key(schema: &Json, key: &str, value: &Json) -> Json {
    let mut schema = schema.clone();
    if let Some(members) = schema.as_object_mut() {
        let properties = members.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            properties.insert(key.to_owned(), value.clone());
        }
    }
    schema
}
