//! Names with a dot in them that are not in quotes. TOML takes the dot for a step into a table: `[upstreams.qwen2.5]` is
//! the table `5` in the table `qwen2`. Told once, and put together again, so that nothing follows from it.

use std::borrow::Cow;

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value as Json;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use vllm_gateway_sdk::{decode::Value, plugin_named};

use crate::{PipelineOptions, UpstreamOptions, report::Report};

/// Puts together the names of upstreams and pipelines, and those in maps that plugins have.
pub(super) fn join(root: &mut DeTable<'_>, text: &str, report: &mut Report) {
    let mut generator = SchemaGenerator::default();
    let upstream = options_in(&UpstreamOptions::json_schema(&mut generator).to_value());
    let pipeline = options_in(&PipelineOptions::json_schema(&mut generator).to_value());
    for (section, options) in [("upstreams", upstream), ("pipelines", pipeline)] {
        let say = |name: &str| format!("write it in quotes: `[{section}.\"{name}\"]`");
        if let Some(DeValue::Table(table)) = root.get_mut(section).map(Spanned::get_mut) {
            let mut names = Names { text, options, report, only_tables: true, say: &say };
            names.join(table);
        }
    }
    let Some(DeValue::Table(filters)) = root.get_mut("filters").map(Spanned::get_mut) else { return };
    for (name, filter) in filters.iter_mut() {
        let DeValue::Table(filter) = filter.get_mut() else { continue };
        let plugin = filter.get("plugin").and_then(|plugin| plugin.get_ref().as_str());
        let Some(plugin) = plugin_named(plugin.unwrap_or(name.get_ref())) else { continue };
        let schema = (plugin.schema)(&mut generator).to_value();
        for (option, map) in filter.iter_mut() {
            let DeValue::Table(map) = map.get_mut() else { continue };
            let entry = schema
                .get("properties")
                .and_then(|options| options.get(option.get_ref().as_ref())?.get("additionalProperties"));
            let Some(entry) = entry.filter(|entry| entry.is_object()) else { continue };
            let say = |name: &str| format!("write it in quotes: `\"{name}\" = …`");
            let mut names = Names { text, options: options_in(entry), report, only_tables: false, say: &say };
            names.join(map);
        }
    }
}

/// All names of options that a schema knows, in whichever of its alternatives.
fn options_in(schema: &Json) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(options) = schema.get("properties").and_then(Json::as_object) {
        found.extend(options.keys().cloned());
    }
    for of in ["anyOf", "oneOf"] {
        let alternatives = schema.get(of).and_then(Json::as_array).into_iter().flatten();
        found.extend(alternatives.flat_map(options_in));
    }
    found
}

/// A table whose keys are names that somebody chose.
struct Names<'n> {
    text: &'n str,
    /// What may stand behind a name and a dot.
    options: Vec<String>,
    report: &'n mut Report,
    /// Whether behind a name only tables can stand.
    only_tables: bool,
    say: &'n dyn Fn(&str) -> String,
}

impl Names<'_> {
    fn join(&mut self, table: &mut DeTable<'_>) {
        let names: Vec<_> = table.keys().cloned().collect();
        for name in names {
            let Some(DeValue::Table(inside)) = table.get_mut(name.get_ref().as_ref()).map(Spanned::get_mut)
            else {
                continue;
            };
            let mut found = Vec::new();
            self.take_out(name.get_ref(), inside, &mut found);
            if !found.is_empty() && inside.is_empty() {
                table.remove(name.get_ref().as_ref());
            }
            for (key, value) in found {
                let message = format!("a dot splits the name `{}` in two", key.get_ref().escape_debug());
                self.report
                    .error(key.span(), message)
                    .hint((self.say)(&key.get_ref().escape_debug().to_string()));
                table.entry(key).or_insert(value);
            }
        }
    }

    /// Takes out what stands behind a dot and is no option, under its whole name.
    fn take_out<'t>(
        &self,
        before: &str,
        inside: &mut DeTable<'t>,
        found: &mut Vec<(Spanned<Cow<'t, str>>, Value<'t>)>,
    ) {
        let behind: Vec<_> = inside.keys().filter(|key| self.is_rest_of_name(key)).cloned().collect();
        for key in behind {
            if self.only_tables
                && !inside.get(key.get_ref().as_ref()).is_some_and(|it| it.get_ref().is_table())
            {
                continue;
            }
            let Some(mut value) = inside.remove(key.get_ref().as_ref()) else { continue };
            let name = format!("{before}.{}", key.get_ref());
            let mut is_empty = false;
            if let DeValue::Table(deeper) = value.get_mut() {
                let already = found.len();
                self.take_out(&name, deeper, found);
                is_empty = found.len() > already && deeper.is_empty();
            }
            if !is_empty {
                found.push((Spanned::new(key.span(), name.into()), value));
            }
        }
    }

    fn is_rest_of_name(&self, key: &Spanned<Cow<'_, str>>) -> bool {
        let before = self.text.get(..key.span().start).unwrap_or_default();
        before.trim_end_matches([' ', '\t']).ends_with('.')
            && !self.options.iter().any(|option| option == key.get_ref())
    }
}
