//! Secrets in environment variables that are not set here.

use std::ops::Range;

use serde_json::Value as Json;
use vllm_gateway_sdk::{SecretRef, decode::span_of};

use crate::{StoreOptions, draft::Draft, options_value::to_json, report::Report};

pub(super) fn check(draft: &Draft<'_>, report: &mut Report) {
    if let Some(options) = &draft.admin.options {
        look(&options.token, draft.admin.at(&["token"]), "admin", report);
    }
    if let Some(StoreOptions::Mongodb(options)) = &draft.store.options {
        look(&options.uri, draft.store.at(&["uri"]), "store", report);
    }
    for upstream in &draft.upstreams {
        if let Some(secret) = upstream.options.as_ref().and_then(|options| options.api_key.as_ref()) {
            look(secret, upstream.at(&["api_key"]), &format!("upstream `{}`", upstream.name), report);
        }
    }
    for filter in draft.filters.iter().filter(|filter| filter.plugin.is_some()) {
        // Which options of a plugin are secrets, only the plugin knows; but nothing else looks like one.
        for (path, secret) in variables(&to_json(&filter.value), &mut Vec::new()) {
            let place = span_of(&filter.value, &path).unwrap_or_else(|| filter.place.clone());
            look(&secret, place, &format!("filter `{}`", filter.name), report);
        }
    }
}

fn look(secret: &SecretRef, place: Range<usize>, what: &str, report: &mut Report) {
    let SecretRef::Env(name) = secret else { return };
    if std::env::var_os(name).is_none() {
        report
            .warning(place, format!("{what}: the environment variable `{}` is not set", name.escape_debug()))
            .hint("the gateway does not start without it");
    }
}

/// All `env:NAME` in these options, with the way to them.
fn variables(options: &Json, path: &mut Vec<String>) -> Vec<(Vec<String>, SecretRef)> {
    let mut found = Vec::new();
    let mut inside = |key: String, value: &Json| {
        path.push(key);
        found.extend(variables(value, path));
        path.pop();
    };
    match options {
        Json::Object(members) => {
            for (key, value) in members {
                inside(key.clone(), value);
            }
        }
        Json::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                inside(index.to_string(), value);
            }
        }
        Json::String(text) => {
            let name = text.strip_prefix("env:").filter(|name| !name.is_empty());
            let plain = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if let Some(name) = name.filter(plain) {
                found.push((path.clone(), SecretRef::Env(name.to_owned())));
            }
        }
        _ => {}
    }
    found
}
