//! The reference of all options, for the terminal and for the documentation, from the schemas of their structs.

mod markdown;
mod rows;
mod text;

pub use markdown::{configuration, plugins};
pub use text::{explain, list};

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value as Json, json};
use vllm_gateway_sdk::PluginDef;

use rows::{Row, rows};

/// The options of a struct of this crate, and what it says of itself.
fn of_struct<T: JsonSchema>() -> (String, Vec<Row>) {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>().to_value();
    let about = schema.get("description").and_then(Json::as_str).unwrap_or_default().to_owned();
    (about, rows(&schema))
}

/// The options of a plugin.
fn of_plugin(plugin: &PluginDef) -> Vec<Row> {
    let mut generator = SchemaSettings::draft07().into_generator();
    let mut schema = (plugin.schema)(&mut generator).to_value();
    if let Some(members) = schema.as_object_mut() {
        members.insert("definitions".to_owned(), json!(generator.take_definitions(true)));
    }
    rows(&schema)
}

/// An example table of a plugin.
fn example(plugin: &PluginDef) -> String {
    format!("[filters.{}]\n{}", plugin.name, plugin.example.trim()).trim_end().to_owned()
}
