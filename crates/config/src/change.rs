//! What differs between two configurations, and what of it needs a restart.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::{AdminOptions, Config, JournalOptions, ServerOptions, StoreOptions};

/// The options of `[server]` that a running gateway cannot change; of `[admin]`, `[store]` and `[journal]` these are all.
const FIXED: [&str; 9] = [
    "listen",
    "tls",
    "threads",
    "write_timeout",
    "body_memory",
    "max_connections",
    "max_connections_per_client",
    "shutdown_grace",
    "cors",
];

/// What is different, by the names of options and tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What is in force now.
    pub changed: Vec<String>,
    /// What differs from what the process was started with, and comes into force with a restart.
    pub needs_restart: Vec<String>,
}

/// What a process was started with, where it cannot be changed later.
pub(crate) struct Boot(Parts);

type Parts = BTreeMap<String, Json>;

impl Boot {
    pub(crate) fn of(
        server: &ServerOptions,
        admin: &AdminOptions,
        store: &StoreOptions,
        journal: &JournalOptions,
    ) -> Self {
        let mut parts = options("server", server);
        parts.retain(|name, _| is_fixed(name));
        parts.extend(options("admin", admin));
        parts.insert("store".to_owned(), json!(store));
        parts.extend(options("journal", journal));
        Self(parts)
    }
}

pub(crate) fn between(old: &Config, new: &Config) -> Change {
    let boot = Boot::of(&new.server, &new.admin, &new.store, &new.journal);
    Change { changed: differences(&live(old), &live(new)), needs_restart: differences(&old.boot.0, &boot.0) }
}

/// What a running gateway can change.
fn live(config: &Config) -> Parts {
    let mut parts = options("server", &config.server);
    parts.retain(|name, _| !is_fixed(name));
    for pipeline in &config.pipelines {
        let filters: Vec<&str> = pipeline.steps.iter().map(|step| step.name.as_str()).collect();
        let value = json!({"routes": pipeline.patterns, "filters": filters, "public": pipeline.public});
        parts.insert(format!("pipelines.{}", pipeline.name), value);
    }
    for (name, filter) in &config.filters {
        parts.insert(format!("filters.{name}"), json!([filter.plugin, filter.options]));
    }
    for (name, upstream) in &config.upstreams {
        parts.insert(format!("upstreams.{name}"), json!(upstream));
    }
    parts
}

fn options(section: &str, options: &impl Serialize) -> Parts {
    match json!(options) {
        Json::Object(members) => {
            members.into_iter().map(|(key, value)| (format!("{section}.{key}"), value)).collect()
        }
        _ => Parts::new(),
    }
}

fn is_fixed(name: &str) -> bool {
    name.strip_prefix("server.").is_some_and(|key| FIXED.contains(&key))
}

fn differences(old: &Parts, new: &Parts) -> Vec<String> {
    let mut names: Vec<String> =
        old.keys().chain(new.keys()).filter(|name| old.get(*name) != new.get(*name)).cloned().collect();
    names.sort();
    names.dedup();
    names
}
