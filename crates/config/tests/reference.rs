//! Schema and reference say what the structs and plugins say.
#![allow(clippy::unwrap_used)]

mod support;

use std::{collections::BTreeSet, fs};

use serde_json::{Value as Json, json};
use vllm_gateway_config::{reference, schema};
use vllm_gateway_sdk::plugin_named;

#[test]
fn the_documentation_of_the_configuration_is_the_generated_one() {
    let path = "../../docs/configuration.md";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, reference::configuration()).unwrap();
    }
    let written = fs::read_to_string(path).unwrap();
    assert!(
        written == reference::configuration(),
        "docs/configuration.md is out of date: run with UPDATE_GOLDEN=1"
    );
}

#[test]
fn the_schema_refers_to_nothing_that_it_does_not_hold() {
    fn references(value: &Json, found: &mut BTreeSet<String>) {
        match value {
            Json::Object(members) => {
                found.extend(members.get("$ref").and_then(Json::as_str).map(str::to_owned));
                members.values().for_each(|value| references(value, found));
            }
            Json::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let schema = schema();
    let mut found = BTreeSet::new();
    references(&schema, &mut found);
    assert!(found.contains("#/definitions/filter-auth"), "{found:?}");
    for reference in found {
        assert!(schema.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

#[test]
fn the_schema_knows_the_options_of_the_linked_plugins() {
    let schema = schema();
    let limit = schema.pointer("/definitions/filter-rate-limit").unwrap();
    assert_eq!(limit["additionalProperties"], json!(false));
    assert_eq!(limit["properties"]["plugin"]["const"], json!("rate-limit"));
    assert_eq!(limit["required"], json!(["requests_per_minute"]));
    assert_eq!(limit["properties"]["burst"]["description"], json!("How many of them at once."));
    let names = schema.pointer("/definitions/filter/properties/plugin/enum").unwrap();
    assert_eq!(names, &json!(["access-log", "auth", "model-route", "oidc", "rate-limit"]));
    assert_eq!(schema["$schema"], json!("http://json-schema.org/draft-07/schema#"));
}

#[test]
fn plugins_are_listed_with_what_they_do() {
    let list = reference::list();
    assert_eq!(list.lines().count(), 5);
    assert!(list.contains("auth          Asks each request for the key of an app\n"), "{list}");
}

#[test]
fn a_plugin_is_explained_with_its_options_and_an_example() {
    let wanted = "\
rate-limit: Limits how many requests a consumer has
needs consumer, may answer 429

Options

  requests_per_minute: integer, required
      How many requests a consumer has in each minute.

  burst: integer, default 0
      How many of them at once.

Example

  [filters.rate-limit]
  requests_per_minute = 600
";
    assert_eq!(reference::explain(plugin_named("rate-limit").unwrap()), wanted);
    assert!(reference::explain(plugin_named("auth").unwrap()).contains("It has no options."));
}

#[test]
fn an_example_is_made_of_what_a_plugin_requires_where_it_has_none() {
    let example = |name: &str| {
        let explained = reference::explain(plugin_named(name).unwrap());
        explained.split_once("\nExample\n\n").unwrap().1.to_owned()
    };
    assert_eq!(example("oidc"), "  [filters.oidc]\n  issuer = \"text\"\n  client_secret = \"env:NAME\"\n");
    assert_eq!(example("auth"), "  [filters.auth]\n");
}

#[test]
fn a_plugin_that_may_stand_only_once_says_so() {
    let explained = reference::explain(plugin_named("access-log").unwrap());
    assert!(explained.contains("\nobserves, may stand only once in a pipeline\n"), "{explained}");
}

#[test]
fn what_must_be_given_is_required_in_schema_and_reference() {
    let schema = schema();
    let pipeline = &schema["definitions"]["PipelineOptions"];
    assert_eq!(pipeline["required"], json!(["filters"]));
    assert_eq!(pipeline["properties"]["filters"].get("default"), None);
    // Endpoints may be here or in a file of their own.
    let either = json!([{"required": ["endpoints"]}, {"required": ["endpoints_file"]}]);
    assert_eq!(schema["definitions"]["UpstreamOptions"]["anyOf"], either);
    let text = reference::configuration();
    assert!(text.contains("| `filters` | list of string | required |"), "{text}");
}

#[test]
fn the_documentation_of_plugins_has_a_table_for_each() {
    let text = reference::plugins();
    assert!(text.contains("## `oidc`\n"), "{text}");
    assert!(
        text.contains("| `client_secret` | secret | required | Proves to the issuer who asks. |\n"),
        "{text}"
    );
    assert!(
        text.contains("| `retention` | duration |  | How long records are kept; without it, for ever. |\n"),
        "{text}"
    );
    assert!(text.contains("```toml\n[filters.rate-limit]\nrequests_per_minute = 600\n```\n"), "{text}");
}

#[test]
fn option_structs_do_without_what_loses_places() {
    let mut files = Vec::new();
    let mut folders = vec![std::path::PathBuf::from("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    assert!(files.len() > 20);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        for attribute in text.lines().filter(|line| line.trim_start().starts_with("#[serde(")) {
            for forbidden in ["flatten", "untagged", "tag ="] {
                assert!(!attribute.contains(forbidden), "{}: {attribute}", path.display());
            }
        }
    }
}
