//! The file taken apart: its sections with their places, decoded as far as they can be.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};
use vllm_gateway_sdk::{
    PluginDef,
    decode::{Value, decode, near_miss, span_of},
    plugin_named, plugins,
};

use crate::{AdminOptions, PipelineOptions, ServerOptions, StoreOptions, UpstreamOptions, report::Report};

const SECTIONS: [&str; 6] = ["server", "admin", "store", "pipelines", "filters", "upstreams"];

/// The sections of one file, in the order in which they stand there.
pub(crate) struct Draft<'t> {
    pub(crate) server: Section<'t, ServerOptions>,
    pub(crate) admin: Section<'t, AdminOptions>,
    pub(crate) store: Section<'t, StoreOptions>,
    pub(crate) pipelines: Vec<Section<'t, PipelineOptions>>,
    pub(crate) filters: Vec<FilterDraft<'t>>,
    pub(crate) upstreams: Vec<Section<'t, UpstreamOptions>>,
    /// Whether the sections of named tables are such sections. Else nothing can be said of the names in them.
    pub(crate) sound: bool,
}

/// One table.
pub(crate) struct Section<'t, T> {
    pub(crate) name: String,
    pub(crate) place: Range<usize>,
    /// What stands in the file; `None` if the section is not there.
    pub(crate) value: Option<Value<'t>>,
    /// `None` if anything is wrong with it.
    pub(crate) options: Option<T>,
}

/// One `[filters.NAME]` table.
pub(crate) struct FilterDraft<'t> {
    pub(crate) name: String,
    pub(crate) place: Range<usize>,
    /// `None` if there is no such plugin.
    pub(crate) plugin: Option<&'static PluginDef>,
    /// The table without `plugin`.
    pub(crate) value: Value<'t>,
}

impl<T> Section<'_, T> {
    /// The place of one of its options, or of the table if it is not written there.
    pub(crate) fn at(&self, path: &[&str]) -> Range<usize> {
        let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
        self.value.as_ref().and_then(|value| span_of(value, &path)).unwrap_or_else(|| self.place.clone())
    }

    /// Whether this option is written in the file.
    pub(crate) fn has(&self, key: &str) -> bool {
        let table = self.value.as_ref().and_then(|value| value.get_ref().as_table());
        table.is_some_and(|table| table.contains_key(key))
    }
}

impl<'t> Draft<'t> {
    pub(crate) fn read(root: Value<'t>, report: &mut Report) -> Self {
        let DeValue::Table(mut root) = root.into_inner() else { unreachable!("a document is a table") };
        let sound = ["pipelines", "filters", "upstreams"]
            .into_iter()
            .all(|section| root.get(section).is_none_or(|value| value.get_ref().is_table()));
        let draft = Self {
            sound,
            server: section(&mut root, "server", report),
            admin: section(&mut root, "admin", report),
            store: store(&mut root, report),
            pipelines: entries(&mut root, "pipelines", report)
                .into_iter()
                .map(|(name, value)| read_section(&format!("pipeline `{name}`"), name, value, report))
                .collect(),
            filters: entries(&mut root, "filters", report)
                .into_iter()
                .filter_map(|(name, value)| filter(name, value, report))
                .collect(),
            upstreams: entries(&mut root, "upstreams", report)
                .into_iter()
                .map(|(name, value)| read_section(&format!("upstream `{name}`"), name, value, report))
                .collect(),
        };
        for key in root.keys() {
            let name = key.get_ref();
            let message = format!("unknown section `{}`", name.escape_debug());
            match near_miss(name, SECTIONS) {
                Some(near) => {
                    report.error(key.span(), format!("{message}, did you mean `{near}`?"));
                }
                None => {
                    report.error(key.span(), message).hint(format!("known here: {}", SECTIONS.join(", ")));
                }
            }
        }
        draft
    }
}

/// A section that has defaults as a whole.
fn section<'t, T: DeserializeOwned + Default>(
    root: &mut DeTable<'t>,
    name: &str,
    report: &mut Report,
) -> Section<'t, T> {
    match root.remove(name) {
        Some(value) => read_section(name, name.to_owned(), value, report),
        None => Section { name: name.to_owned(), place: 0..0, value: None, options: Some(T::default()) },
    }
}

fn read_section<'t, T: DeserializeOwned>(
    what: &str,
    name: String,
    value: Value<'t>,
    report: &mut Report,
) -> Section<'t, T> {
    let (options, problems) = decode(&value);
    report.problems(problems, &value.span(), what);
    Section { name, place: value.span(), value: Some(value), options }
}

/// `[store]`, whose `kind` decides what else may stand there.
fn store<'t>(root: &mut DeTable<'t>, report: &mut Report) -> Section<'t, StoreOptions> {
    let Some(mut value) = root.remove("store") else {
        let options = Some(StoreOptions::default());
        return Section { name: "store".to_owned(), place: 0..0, value: None, options };
    };
    let place = value.span();
    let kind = match value.get_mut() {
        DeValue::Table(table) => table.remove("kind"),
        _ => None,
    };
    let default = StoreOptions::KINDS[0];
    let name = kind.as_ref().map_or(Some(default), |kind| kind.get_ref().as_str());
    let (options, problems) = match name {
        Some("sqlite") => {
            let (options, problems) = decode(&value);
            (options.map(StoreOptions::Sqlite), problems)
        }
        Some("mongodb") => {
            let (options, problems) = decode(&value);
            (options.map(StoreOptions::Mongodb), problems)
        }
        // What else stands there cannot be judged without knowing the kind.
        other => {
            let span = kind.as_ref().map_or_else(|| place.clone(), Value::span);
            let kinds = StoreOptions::KINDS;
            let message = match other {
                Some(other) => format!("store: unknown kind `{}`", other.escape_debug()),
                None => "store: expected a string in `kind`".to_owned(),
            };
            match other.and_then(|other| near_miss(other, kinds)) {
                Some(near) => {
                    report.error(span, format!("{message}, did you mean `{near}`?"));
                }
                None => report.error(span, message).hint(format!("one of: {}", kinds.join(", "))),
            }
            (None, Vec::new())
        }
    };
    report.problems(problems, &place, "store");
    Section { name: "store".to_owned(), place, value: Some(value), options }
}

/// The tables of a section of named tables, in the order of the file.
fn entries<'t>(root: &mut DeTable<'t>, section: &str, report: &mut Report) -> Vec<(String, Value<'t>)> {
    let Some(value) = root.remove(section) else { return Vec::new() };
    let span = value.span();
    let DeValue::Table(table) = value.into_inner() else {
        report
            .error(span, format!("`{section}` holds one table for each name"))
            .hint(format!("write them as `[{section}.NAME]`"));
        return Vec::new();
    };
    let mut entries = Vec::new();
    for (key, value) in table {
        let name = key.get_ref();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            report
                .error(key.span(), format!("`{}` cannot be a name", name.escape_debug()))
                .hint("a name has 1 to 64 letters, digits, `-`, `_` or `.`");
        }
        entries.push((name.to_string(), value));
    }
    entries.sort_by_key(|(_, value)| value.span().start);
    entries
}

/// `[filters.NAME]`, whose `plugin` decides what else may stand there.
fn filter<'t>(name: String, mut value: Value<'t>, report: &mut Report) -> Option<FilterDraft<'t>> {
    let place = value.span();
    let DeValue::Table(table) = value.get_mut() else {
        report
            .error(place, format!("filter `{name}`: expected a table"))
            .hint(format!("write `[filters.{name}]`"));
        return None;
    };
    let written = table.remove("plugin");
    let linked: Vec<&str> = plugins().iter().map(|plugin| plugin.name).collect();
    let plugin = match written.as_ref().map(|plugin| (plugin.span(), plugin.get_ref().as_str())) {
        None => {
            let plugin = plugin_named(&name);
            if plugin.is_none() {
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
            plugin
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
