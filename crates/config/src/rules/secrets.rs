//! Secrets that are not here, in variables or in files, and files that everybody may read.

use std::{ops::Range, path::Path};

use serde_json::Value as Json;
use vllm_gateway_sdk::{SecretError, SecretRef, decode::span_of};

use crate::{AdminOptions, Blocks, StoreOptions, draft::Draft, options_value::to_json, report::Report};

pub(super) fn check(draft: &Draft<'_>, base: &Path, report: &mut Report) {
    let mut look =
        |secret: &SecretRef, place: Range<usize>, what: &str, blocks: Option<Blocks>, judge: Judge| {
            look_at(secret, base, place.clone(), what, blocks, judge, report);
            if let SecretRef::File(path) = secret {
                look_at_permissions(&base.join(path), place, what, report);
            }
        };
    if let Some(options) = &draft.admin.options {
        let made = matches!(&options.token, SecretRef::File(path) if !base.join(path).exists());
        // A token that is not there yet is made at the start.
        if !made {
            let place = draft.admin.at(&["token"]);
            look(&options.token, place, "admin: `token`", Some(Blocks::Start), too_short);
        }
    }
    if let Some(StoreOptions::Mongodb(options)) = &draft.store.options {
        let place = draft.store.at(&["uri"]);
        look(&options.uri, place, "store: `uri`", Some(Blocks::Start), no_address);
    }
    for upstream in &draft.upstreams {
        if let Some(secret) = upstream.options.as_ref().and_then(|options| options.api_key.as_ref()) {
            let what = format!("upstream `{}`: `api_key`", upstream.name);
            look(secret, upstream.at(&["api_key"]), &what, Some(Blocks::Reload), |_| None);
        }
    }
    for filter in draft.filters.iter().filter(|filter| filter.plugin.is_some()) {
        // Which options of a plugin are secrets, only the plugin knows; but nothing else looks like one.
        for (path, secret) in variables(&to_json(&filter.value), &mut Vec::new()) {
            let place = span_of(&filter.value, &path).unwrap_or_else(|| filter.place.clone());
            look(&secret, place, &format!("filter `{}`", filter.name), None, |_| None);
        }
    }
    let server = draft.server.options.as_ref().and_then(|options| options.tls.as_ref());
    if let Some(tls) = server {
        look_at_permissions(&base.join(&tls.key), draft.server.at(&["tls", "key"]), "server", report);
    }
    let admin = draft.admin.options.as_ref().and_then(|options| options.tls.as_ref());
    if let Some(tls) = admin {
        look_at_permissions(&base.join(&tls.key), draft.admin.at(&["tls", "key"]), "admin", report);
    }
}

/// What is wrong with a secret that could be read, without saying it.
type Judge = fn(&str) -> Option<Fault>;

struct Fault {
    message: &'static str,
    hint: &'static str,
}

fn too_short(token: &str) -> Option<Fault> {
    (token.chars().count() < AdminOptions::SHORTEST_TOKEN).then_some(Fault {
        message: "the admin token has fewer than 16 characters",
        hint: "use a long random one: `openssl rand -hex 32`; the gateway does not start with this one",
    })
}

/// What the gateway cannot mean by itself; the rest of an address is the driver's to judge, at the start.
fn no_address(uri: &str) -> Option<Fault> {
    let rest = uri.strip_prefix("mongodb://").or_else(|| uri.strip_prefix("mongodb+srv://"));
    let servers = rest.map(|rest| rest.split(['/', '?']).next().unwrap_or(rest));
    let servers = servers.map(|login| login.rsplit_once('@').map_or(login, |(_, servers)| servers));
    let is_server = |server: &str| {
        // An IPv6 address stands in brackets.
        let port = server.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map(|(_, port)| port);
        !server.is_empty()
            && !server.starts_with(':')
            && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
    };
    let sound = servers.is_some_and(|servers| servers.split(',').all(is_server));
    (!sound).then_some(Fault {
        message: "this is not the address of a MongoDB",
        hint: "write it like `mongodb://user:password@host:27017/?options`, special characters in user and password \
               percent-encoded; the gateway does not start with this one",
    })
}

/// Whether the secret can be read here, and is one. Of no file is anything taken that can be read once only, as a pipe can.
fn look_at(
    secret: &SecretRef,
    base: &Path,
    place: Range<usize>,
    what: &str,
    blocks: Option<Blocks>,
    judge: Judge,
    report: &mut Report,
) {
    if let SecretRef::File(path) = secret
        && base.join(path).metadata().is_ok_and(|found| !found.is_file() && !found.is_dir())
    {
        return;
    }
    let mut hint = "the gateway does not start without it";
    let message = match secret.read(base) {
        Ok(text) => {
            let Some(fault) = judge(&text) else { return };
            hint = fault.hint;
            fault.message.to_owned()
        }
        Err(SecretError::File { path, source }) => {
            format!("cannot read the secret file `{}`: {source}", base.join(path).display())
        }
        Err(SecretError::Empty(SecretRef::File(path))) => {
            format!("the secret file `{}` is empty", base.join(path).display())
        }
        Err(SecretError::Empty(SecretRef::Env(name))) => {
            format!("the environment variable `{}` is empty", name.escape_debug())
        }
        Err(SecretError::Unset(name)) => {
            format!("the environment variable `{}` is not set", name.escape_debug())
        }
    };
    let finding = report.warning(place, format!("{what}: {message}"));
    if let Some(blocks) = blocks {
        finding.blocks(blocks);
    }
    finding.hint(hint);
}

/// Whether others may read the file. That it is not there, if so, is told by others.
fn look_at_permissions(path: &Path, place: Range<usize>, what: &str, report: &mut Report) {
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
