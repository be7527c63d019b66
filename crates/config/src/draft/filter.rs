//! `[filters.NAME]`, whose `plugin` decides what else may stand there.

use schemars::SchemaGenerator;
use toml::de::DeValue;
use vllm_gateway_sdk::{
    PluginDef,
    decode::{Value, near_miss},
    plugin_named, plugins,
};

use super::{FilterDraft, deciding};
use crate::report::Report;

pub(super) fn read<'t>(name: String, mut value: Value<'t>, report: &mut Report) -> Option<FilterDraft<'t>> {
    let place = value.span();
    let DeValue::Table(table) = value.get_mut() else {
        report
            .error(place, format!("filter `{name}`: expected a table"))
            .hint(format!("write `[filters.{name}]`"));
        return None;
    };
    let named = plugin_named(&name);
    let written = deciding(
        table,
        "plugin",
        &|key| named.is_some_and(|plugin| has_option(plugin, key)),
        &format!("filter `{name}`"),
        report,
    );
    let linked: Vec<&str> = plugins().iter().map(|plugin| plugin.name).collect();
    let plugin = match written.as_ref().map(|plugin| (plugin.span(), plugin.get_ref().as_str())) {
        None => {
            if named.is_none() {
                let hint = match near_miss(&name, linked.iter().copied()) {
                    Some(near) => {
                        format!("did you mean `[filters.{near}]`? or name its plugin: `plugin = \"{near}\"`")
                    }
                    None => format!("name its plugin: `plugin = \"…\"`; linked are {}", linked.join(", ")),
                };
                report
                    .error(place.clone(), format!("filter `{name}`: no plugin of this name is linked"))
                    .hint(hint);
            }
            named
        }
        Some((span, Some(wanted))) => {
            let plugin = plugin_named(wanted);
            if plugin.is_none() {
                let message =
                    format!("filter `{name}`: no plugin named `{}` is linked", wanted.escape_debug());
                match near_miss(wanted, linked.iter().copied()) {
                    Some(near) => {
                        report.error(span, format!("{message}, did you mean `{near}`?"));
                    }
                    None => report.error(span, message).hint(format!("linked are {}", linked.join(", "))),
                }
            }
            plugin
        }
        Some((span, None)) => {
            report.error(span, format!("filter `{name}`: expected a string in `plugin`"));
            None
        }
    };
    Some(FilterDraft { name, place, plugin, value })
}

/// Whether a plugin has an option of this name.
fn has_option(plugin: &PluginDef, key: &str) -> bool {
    let schema = (plugin.schema)(&mut SchemaGenerator::default());
    schema.get("properties").is_some_and(|properties| properties.get(key).is_some())
}
