//! The plugins that come with the gateway, the file that is shipped, and the documentation of both.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use vllm_gateway_access_log as _;
use vllm_gateway_auth as _;
use vllm_gateway_config::{Config, picture, reference};
use vllm_gateway_cost_caps as _;
use vllm_gateway_model_route as _;
use vllm_gateway_sdk::{Services, plugins};

fn check(text: &str) -> (Vec<String>, Option<Config>) {
    let loaded = Config::from_text("gateway.toml", text, Path::new("/base"), &Services::inert(), None);
    (loaded.diagnostics.iter().map(ToString::to_string).collect(), loaded.config)
}

#[test]
fn the_shipped_file_is_free_of_problems() {
    let loaded = Config::load(Path::new("../../gateway.toml"), &Services::inert(), None);
    assert_eq!(loaded.diagnostics, []);
    let drawn = picture(&loaded.config.unwrap());
    assert!(drawn.starts_with("pipeline default   /v1/*\n  request  │ 1 access-log    observes"), "{drawn}");
    assert!(drawn.contains("provides consumer"), "{drawn}");
    assert!(drawn.contains("1 model, 1 endpoint"), "{drawn}");
}

#[test]
fn the_examples_of_the_shipped_plugins_are_free_of_problems() {
    let tables: String = plugins()
        .iter()
        .map(|plugin| format!("[filters.{}]\n{}\n", plugin.name, plugin.example))
        .collect::<Vec<_>>()
        .concat();
    let text = format!(
        "[pipelines.default]\nfilters = [\"access-log\", \"auth\", \"cost-caps\", \"model-route\"]\n{tables}\n\
         [upstreams.qwen3-32b]\nendpoints = [{{ url = \"http://127.0.0.1:8000\" }}]\n"
    );
    assert_eq!(check(&text).0, Vec::<String>::new(), "{text}");
}

#[test]
fn a_filter_that_reads_bodies_belongs_behind_the_one_that_lets_requests_in() {
    let text = "[pipelines.default]
filters = [\"access-log\", \"cost-caps\", \"auth\", \"model-route\"]
[filters.access-log]
[filters.cost-caps]
max_choices = 8
[filters.auth]
[filters.model-route]
models = { one = \"gpu\" }
[upstreams.gpu]
endpoints = [{ url = \"http://127.0.0.1:8000\" }]
";
    let wanted = "gateway.toml:2:26: warning: pipeline `default`: `cost-caps` comes before `auth`: bodies are read of \
                  those whom nobody has let in\n  hint: put `cost-caps` behind `auth`";
    assert_eq!(check(text).0, [wanted]);
    let behind = text.replace("\"cost-caps\", \"auth\"", "\"auth\", \"cost-caps\"");
    let public = text
        .replace(", \"auth\"", "")
        .replace("[filters.auth]\n", "")
        .replace("filters =", "public = true\nfilters =");
    for sound in [behind, public] {
        assert_eq!(check(&sound).0, Vec::<String>::new(), "{sound}");
    }
}

#[test]
fn problems_in_the_options_of_shipped_plugins_stand_at_their_places() {
    let text = "[pipelines.default]
filters = [\"access-log\", \"auth\", \"model-route\"]
[filters.access-log]
retention = \"for ever\"
[filters.auth]
kye = 1
[filters.model-route.models]
one = { upstream = \"gpu\", modell = \"x\" }
two = 3
[upstreams.gpu]
endpoints = [{ url = \"http://127.0.0.1:8000\" }]
";
    let (said, config) = check(text);
    assert!(config.is_none());
    let starts = [
        "gateway.toml:4:13: error: filter `access-log`: `for ever` is not a duration",
        "gateway.toml:6:1: error: filter `auth`: unknown field `kye`",
        "gateway.toml:8:27: error: filter `model-route`: unknown field `modell`, did you mean `model`?",
        "gateway.toml:9:7: error: filter `model-route`: ",
    ];
    assert_eq!(said.len(), starts.len(), "{said:#?}");
    for (line, start) in said.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn an_upstream_that_is_not_declared_is_named_at_its_model() {
    let text = "[pipelines.default]
filters = [\"access-log\", \"auth\", \"model-route\"]
[filters.access-log]
[filters.auth]
[filters.model-route.models]
one = \"gpu\"
\"two.5\" = { upstream = \"gpuu\" }
[upstreams.gpu]
endpoints = [{ url = \"http://127.0.0.1:8000\" }]
";
    let wanted = "gateway.toml:7:24: error: filter `model-route`: no upstream named `gpuu`\n  hint: did you mean `gpu`?";
    assert_eq!(check(text).0, [wanted]);
}

#[test]
fn the_documentation_of_the_plugins_is_the_generated_one() {
    let path = "../../docs/plugins.md";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, reference::plugins()).unwrap();
    }
    let written = fs::read_to_string(path).unwrap();
    assert!(written == reference::plugins(), "docs/plugins.md is out of date: run with UPDATE_GOLDEN=1");
}

#[test]
fn the_documentation_of_the_routes_is_the_generated_one() {
    let path = "../../docs/routes.md";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, reference::routes()).unwrap();
    }
    let written = fs::read_to_string(path).unwrap();
    assert!(written == reference::routes(), "docs/routes.md is out of date: run with UPDATE_GOLDEN=1");
}

#[test]
fn a_dot_in_a_model_s_name_is_one_error() {
    let text = "[pipelines.default]
filters = [\"access-log\", \"auth\", \"model-route\"]
[filters.access-log]
[filters.auth]
[filters.model-route]
models = { Qwen2.5-VL-72B = \"gpu\", fast.upstream = \"gpu\" }
[upstreams.gpu]
endpoints = [{ url = \"http://127.0.0.1:8000\" }]
";
    let (said, _) = check(text);
    let wanted = "gateway.toml:6:18: error: a dot splits the name `Qwen2.5-VL-72B` in two\n  hint: write it in quotes: `\"Qwen2.5-VL-72B\" = …`";
    assert_eq!(said, [wanted]);
}
