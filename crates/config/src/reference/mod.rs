//! The reference of all options, for the terminal and for the documentation, from the schemas of their structs.

mod example;
mod markdown;
mod routes;
mod rows;
mod text;

pub use markdown::{configuration, plugins};
pub use routes::routes;
pub use text::{explain, list};

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value as Json, json};
use vllm_gateway_sdk::PluginDef;

use rows::{Row, rows};

use crate::picture::facts;

/// The options of a struct of this crate, and what it says of itself.
fn of_struct<T: JsonSchema>() -> (String, Vec<Row>) {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>().to_value();
    let about = schema.get("description").and_then(Json::as_str).unwrap_or_default().to_owned();
    (about, rows(&schema))
}

/// The options of a plugin.
fn of_plugin(plugin: &PluginDef) -> Vec<Row> {
    rows(&schema_of(plugin))
}

fn schema_of(plugin: &PluginDef) -> Json {
    let mut generator = SchemaSettings::draft07().into_generator();
    let mut schema = (plugin.schema)(&mut generator).to_value();
    if let Some(members) = schema.as_object_mut() {
        members.insert("definitions".to_owned(), json!(generator.take_definitions(true)));
    }
    schema
}

/// What a plugin declares, in words.
fn declared(plugin: &PluginDef) -> String {
    let facts = facts(plugin);
    let body = if plugin.reads_body { "reads bodies" } else { "" };
    let once = if plugin.once { "may stand only once in a pipeline" } else { "" };
    [body, facts.as_str(), once].into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join(", ")
}

/// An example table of a plugin: its own, or one made of what it requires.
fn example(plugin: &PluginDef) -> String {
    let derived = || example::of(&schema_of(plugin));
    let lines = if plugin.example.trim().is_empty() { derived() } else { plugin.example.trim().to_owned() };
    format!("[filters.{}]\n{lines}", plugin.name).trim_end().to_owned()
}
