//! Secrets in environment variables that are not set here, and in files that everybody may read.

use std::{ops::Range, path::Path};

use serde_json::Value as Json;
use vllm_gateway_sdk::{SecretRef, decode::span_of};

use crate::{StoreOptions, draft::Draft, options_value::to_json, report::Report};

pub(super) fn check(draft: &Draft<'_>, base: &Path, report: &mut Report) {
    let mut look = |secret: &SecretRef, place: Range<usize>, what: &str| match secret {
        SecretRef::Env(name) => look_for_variable(name, place, what, report),
        SecretRef::File(path) => look_at_file(&base.join(path), place, what, report),
    };
    if let Some(options) = &draft.admin.options {
        look(&options.token, draft.admin.at(&["token"]), "admin");
    }
    if let Some(StoreOptions::Mongodb(options)) = &draft.store.options {
        look(&options.uri, draft.store.at(&["uri"]), "store");
    }
    for upstream in &draft.upstreams {
        if let Some(secret) = upstream.options.as_ref().and_then(|options| options.api_key.as_ref()) {
            look(secret, upstream.at(&["api_key"]), &format!("upstream `{}`", upstream.name));
        }
    }
    for filter in draft.filters.iter().filter(|filter| filter.plugin.is_some()) {
        // Which options of a plugin are secrets, only the plugin knows; but nothing else looks like one.
        for (path, secret) in variables(&to_json(&filter.value), &mut Vec::new()) {
            let place = span_of(&filter.value, &path).unwrap_or_else(|| filter.place.clone());
            look(&secret, place, &format!("filter `{}`", filter.name));
        }
    }
    let server = draft.server.options.as_ref().and_then(|options| options.tls.as_ref());
    if let Some(tls) = server {
        look_at_file(&base.join(&tls.key), draft.server.at(&["tls", "key"]), "server", report);
    }
    let admin = draft.admin.options.as_ref().and_then(|options| options.tls.as_ref());
    if let Some(tls) = admin {
        look_at_file(&base.join(&tls.key), draft.admin.at(&["tls", "key"]), "admin", report);
    }
}

/// A file that is not there is somebody else's to tell of: perhaps it is made at the start.
fn look_at_file(path: &Path, place: Range<usize>, what: &str, report: &mut Report) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(file) = path.metadata() else { return };
    if file.is_file() && file.permissions().mode() & 0o007 != 0 {
        report
            .warning(
                place,
                format!("{what}: every user of this machine may open the secret `{}`", path.display()),
            )
            .hint("take it from them: `chmod 600`, in Kubernetes `defaultMode: 0400`");
    }
}

fn look_for_variable(name: &str, place: Range<usize>, what: &str, report: &mut Report) {
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
