//! What a reload keeps, what it says has changed, and what it cannot change.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, path::Path, sync::Arc};

use vllm_gateway_config::{Config, StoreOptions};
use vllm_gateway_sdk::Services;

const FILE: &str = r#"
[server]
listen = "127.0.0.1:8080"

[pipelines.default]
filters = ["access-log", "auth", "rate-limit", "model-route"]

[filters.access-log]
[filters.auth]
[filters.rate-limit]
requests_per_minute = 600
burst = 0x10
[filters.model-route]
models = { "m" = "gpu" }

[upstreams.gpu]
endpoints = [{ url = "http://10.0.0.11:8000" }]
"#;

fn load(text: &str, old: Option<&Config>) -> Config {
    let loaded = Config::from_text("gateway.toml", text, Path::new("/base"), &Services::inert(), old);
    loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics))
}

fn kept(old: &Config, new: &Config, name: &str) -> bool {
    let filter = |config: &Config| {
        let step = config.pipelines[0].steps.iter().find(|step| step.name == name).unwrap();
        Arc::clone(&step.filter)
    };
    Arc::ptr_eq(&filter(old), &filter(new))
}

#[test]
fn filters_with_the_same_options_are_kept_however_they_are_written() {
    let old = load(FILE, None);
    let new = load(&FILE.replace("burst = 0x10", "'burst' = 1_6 # the same"), Some(&old));
    assert!(kept(&old, &new, "rate-limit") && kept(&old, &new, "model-route"));
    assert_eq!(new.diff(&old).changed, Vec::<String>::new());
}

#[test]
fn filters_with_other_options_are_built_anew() {
    let old = load(FILE, None);
    let new = load(&FILE.replace("= 600", "= 601"), Some(&old));
    assert!(!kept(&old, &new, "rate-limit"));
    assert!(kept(&old, &new, "model-route"));
    assert_eq!(new.diff(&old).changed, ["filters.rate-limit"]);
}

#[test]
fn a_kept_filter_is_still_checked_against_the_new_file() {
    let old = load(FILE, None);
    let text = FILE.replace("[upstreams.gpu]", "[upstreams.other]");
    let loaded = Config::from_text("gateway.toml", &text, Path::new("/base"), &Services::inert(), Some(&old));
    assert!(loaded.config.is_none());
    assert!(loaded.diagnostics.iter().any(|problem| problem.message.contains("no upstream named `gpu`")));
}

#[test]
fn changes_are_named_and_those_that_need_a_restart_apart() {
    let old = load(FILE, None);
    let text = FILE
        .replace("8080", "8090")
        .replace("[pipelines.default]", "max_body_size = \"1MiB\"\n[admin]\nmetrics_auth = true\n[store]\npath = \"x\"\n[pipelines.default]")
        .replace("\"auth\", \"rate-limit\"", "\"auth\"")
        .replace("[upstreams.gpu]", "[upstreams.more]\nendpoints = [{ url = \"http://h\" }]\n[upstreams.gpu]");
    let new = load(&text, Some(&old));
    let change = new.diff(&old);
    assert_eq!(change.changed, ["pipelines.default", "server.max_body_size", "upstreams.more"]);
    assert_eq!(change.needs_restart, ["admin.metrics_auth", "server.listen", "store"]);
}

#[test]
fn a_restart_is_asked_for_until_it_happens() {
    let old = load(FILE, None);
    let second = load(&FILE.replace("8080", "8090"), Some(&old));
    let third = load(&FILE.replace("8080", "8090").replace("= 600", "= 601"), Some(&second));
    assert_eq!(third.diff(&second).changed, ["filters.rate-limit"]);
    assert_eq!(third.diff(&second).needs_restart, ["server.listen"]);
    let back = load(FILE, Some(&third));
    assert_eq!(back.diff(&third).needs_restart, Vec::<String>::new());
}

#[test]
fn sections_that_are_left_out_have_the_documented_defaults() {
    let config = load(&FILE.replace("[server]\nlisten = \"127.0.0.1:8080\"", ""), None);
    assert_eq!(&*config.server.listen, "0.0.0.0:8080");
    assert_eq!(config.server.max_body_size.bytes(), 32 << 20);
    assert_eq!(&*config.admin.listen, "127.0.0.1:8081");
    assert_eq!(config.admin.token.to_string(), "file:data/admin.token");
    let StoreOptions::Sqlite(sqlite) = &config.store else { panic!("{:?}", config.store) };
    assert_eq!(sqlite.path, Path::new("data/gateway.db"));
    assert_eq!(config.store.max_staleness().get().as_secs(), 3600);
    let upstream = &config.upstreams["gpu"];
    assert_eq!(upstream.endpoints[0].weight, 1);
    assert_eq!(upstream.total_timeout.get().as_secs(), 3600);
}

#[test]
fn every_route_has_its_pipeline() {
    let config =
        load(&FILE.replace("[pipelines.default]", "[pipelines.default]\nroutes = [\"/v1/*\"]"), None);
    let map = config.route_map();
    assert_eq!(map.get("/v1/chat/completions"), Some(&0));
    assert_eq!(map.get("/tokenize"), None);
}

#[test]
fn a_file_is_read_and_paths_are_relative_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    fs::write(&path, FILE).unwrap();
    let loaded = Config::load(&path, &Services::inert(), None);
    assert_eq!(loaded.diagnostics, []);
    assert_eq!(loaded.config.unwrap().base, folder.path());
}

#[test]
fn a_file_that_cannot_be_read_is_a_diagnostic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    let missing = Config::load(&path, &Services::inert(), None);
    assert!(missing.config.is_none());
    assert!(missing.diagnostics[0].to_string().contains("gateway.toml: error: cannot read the file: "));
    fs::write(&path, b"a = 1\nb = \"\xc3\xbc\xff\"").unwrap();
    let latin = Config::load(&path, &Services::inert(), None);
    assert!(latin.config.is_none());
    assert!(
        latin.diagnostics[0].to_string().ends_with("gateway.toml:2:7: error: the file is not UTF-8 text")
    );
}
