//! The file taken apart: its sections with their places, decoded as far as they can be.

mod dotted;
mod filter;
mod store;
mod upstream;

use std::{borrow::Cow, ops::Range};

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use vllm_gateway_sdk::{
    PluginDef,
    decode::{Value, decode, near_miss, span_of},
};

use crate::{
    AdminOptions, JournalOptions, PipelineOptions, ServerOptions, StoreOptions, UpstreamOptions,
    report::Report,
};

const SECTIONS: [&str; 7] = ["server", "admin", "store", "journal", "pipelines", "filters", "upstreams"];

/// The sections of one file, in the order in which they stand there.
pub(crate) struct Draft<'t> {
    pub(crate) server: Section<'t, ServerOptions>,
    pub(crate) admin: Section<'t, AdminOptions>,
    pub(crate) store: Section<'t, StoreOptions>,
    pub(crate) journal: Section<'t, JournalOptions>,
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
    pub(crate) fn read(root: Value<'t>, text: &str, report: &mut Report) -> Self {
        let DeValue::Table(mut root) = root.into_inner() else { unreachable!("a document is a table") };
        strange_sections(&mut root, report);
        dotted::join(&mut root, text, report);
        let sound = ["pipelines", "filters", "upstreams"]
            .into_iter()
            .all(|section| root.get(section).is_none_or(|value| value.get_ref().is_table()));
        Self {
            sound,
            server: section(&mut root, "server", report),
            admin: section(&mut root, "admin", report),
            store: store::read(&mut root, report),
            journal: section(&mut root, "journal", report),
            pipelines: entries(&mut root, "pipelines", report)
                .into_iter()
                .map(|(name, value)| read_section(&format!("pipeline `{name}`"), name, value, report))
                .collect(),
            filters: entries(&mut root, "filters", report)
                .into_iter()
                .filter_map(|(name, value)| filter::read(name, value, report))
                .collect(),
            upstreams: entries(&mut root, "upstreams", report)
                .into_iter()
                .map(|(name, value)| upstream::read(name, value, report))
                .collect(),
        }
    }
}

/// Tells of sections that there are not. What stands in a misspelt one is taken for what was meant: that it is missing
/// there would be a second error for one slip.
fn strange_sections(root: &mut DeTable<'_>, report: &mut Report) {
    let strange: Vec<_> =
        root.keys().filter(|key| !SECTIONS.contains(&key.get_ref().as_ref())).cloned().collect();
    for key in strange {
        let message = format!("unknown section `{}`", key.get_ref().escape_debug());
        let Some(meant) = near_miss(key.get_ref(), SECTIONS) else {
            report.error(key.span(), message).hint(format!("known here: {}", SECTIONS.join(", ")));
            continue;
        };
        report.error(key.span(), format!("{message}, did you mean `{meant}`?"));
        let Some(value) = root.remove(key.get_ref().as_ref()) else { continue };
        match (root.get_mut(meant).map(Spanned::get_mut), value) {
            (None, value) => {
                root.insert(Spanned::new(key.span(), meant.into()), value);
            }
            (Some(DeValue::Table(table)), value) => {
                let DeValue::Table(others) = value.into_inner() else { continue };
                for (name, value) in others {
                    table.entry(name).or_insert(value);
                }
            }
            (Some(_), _) => {}
        }
    }
}

/// The value of the key that decides what else may stand in a table, taken out of it. Where the key is misspelt, that
/// is told, and the value counts all the same.
fn deciding<'t>(
    table: &mut DeTable<'t>,
    key: &str,
    known: &dyn Fn(&str) -> bool,
    what: &str,
    report: &mut Report,
) -> Option<Value<'t>> {
    if let Some(value) = table.remove(key) {
        return Some(value);
    }
    let misspelt = |(name, value): &(&Spanned<Cow<'t, str>>, &Value<'t>)| {
        let name = name.get_ref();
        value.get_ref().is_str() && near_miss(name, [key]).is_some() && !known(name)
    };
    let name = table.iter().find(misspelt).map(|(name, _)| name.clone())?;
    let message = format!("{what}: unknown field `{}`, did you mean `{key}`?", name.get_ref().escape_debug());
    report.error(name.span(), message);
    table.remove(name.get_ref().as_ref())
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
