//! docs/records-and-metrics.md names every field of a record and every metric, as the code has them.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::Path};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The cells of the page's tables that stand first in their row, without their backquotes.
fn explained(page: &str) -> Vec<&str> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(name, _)| name)
        .collect()
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |text, word| text + &word[..1].to_uppercase() + &word[1..])
}

#[test]
fn every_field_of_a_record_is_explained() {
    let page = read("docs/records-and-metrics.md");
    let code = read("crates/record/src/record.rs");
    let (_, body) = code.split_once("pub struct Record<S = String> {").unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let fields: Vec<_> =
        body.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':')).collect();
    assert!(fields.len() >= 30, "only {} fields were found", fields.len());
    for (field, _) in fields {
        let field = camel_case(field);
        assert!(explained(&page).contains(&field.as_str()), "`{field}` is missing");
    }
}

#[test]
fn every_outcome_and_every_source_of_tokens_is_explained() {
    let page = read("docs/records-and-metrics.md");
    let outcomes = vllm_gateway_sdk::Outcome::ALL.map(vllm_gateway_sdk::Outcome::as_str);
    let sources = vllm_gateway_sdk::TokenSource::ALL.map(vllm_gateway_sdk::TokenSource::as_str);
    for name in outcomes.into_iter().chain(sources) {
        assert!(explained(&page).contains(&name), "`{name}` is missing");
    }
}

#[test]
fn every_metric_is_explained_and_none_that_is_not_there() {
    let page = read("docs/records-and-metrics.md");
    let code = read("src/telemetry/metrics/mod.rs");
    let mut families: Vec<_> = code
        .split("family(")
        .skip(1)
        .map(|call| call.trim_start().strip_prefix('"').unwrap().split_once('"').unwrap().0)
        .map(|name| format!("vllm_gateway_{name}"))
        .collect();
    assert!(families.len() >= 18, "only {} families were found", families.len());
    let mut named: Vec<_> = explained(&page)
        .into_iter()
        .filter(|name| name.starts_with("vllm_gateway_"))
        .map(str::to_owned)
        .collect();
    families.sort();
    named.sort();
    assert_eq!(families, named);
}
