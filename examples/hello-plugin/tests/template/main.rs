//! What the example promises as a template: it is short, documented, and can be used twice.
#![allow(clippy::unwrap_used)]

mod guide;

use vllm_gateway_hello as _;
use vllm_gateway_sdk::testkit;

const SOURCE: &str = include_str!("../../src/lib.rs");
const TEST: &str = include_str!("../greets.rs");
const MANIFEST: &str = include_str!("../../Cargo.toml");
const GUIDE: &str = include_str!("../../../../docs/writing-a-plugin.md");

#[test]
fn a_plugin_with_an_option_takes_no_more_than_32_lines() {
    let lines = SOURCE.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 32, "{lines} lines");
}

#[test]
fn the_guide_shows_this_very_code() {
    assert!(GUIDE.contains(SOURCE), "docs/writing-a-plugin.md does not show src/lib.rs as it is");
    assert!(GUIDE.contains(TEST), "docs/writing-a-plugin.md does not show tests/greets.rs as it is");
}

#[test]
fn the_guide_has_lines_that_can_be_read_in_an_editor() {
    for line in GUIDE.lines() {
        assert!(line.chars().count() <= 120, "{line}");
    }
}

/// The dependencies in a manifest, development ones included, by name only.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut section = "";
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]") {
            names.extend(line.split([' ', '.']).next().filter(|name| !name.is_empty()));
        }
    }
    names
}

#[test]
fn the_manifest_that_the_guide_gives_in_full_depends_on_what_the_template_does() {
    let mut blocks = GUIDE.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let full = blocks.find(|block| block.contains("name = \"vllm-gateway-my-plugin\""));
    assert_eq!(dependencies(full.unwrap_or_default()), dependencies(MANIFEST));
    assert!(
        full.is_some_and(|manifest| !manifest.contains("workspace")),
        "nothing is inherited outside of it"
    );
}

#[test]
fn the_sdk_is_all_that_a_plugin_needs_of_the_gateway() {
    let own = MANIFEST.split("[dev-dependencies]").next().unwrap_or_default();
    let gateway = own.lines().filter(|line| line.starts_with("vllm-gateway"));
    assert_eq!(gateway.collect::<Vec<_>>(), ["vllm-gateway-sdk.workspace = true"]);
}

#[tokio::test]
async fn one_plugin_can_stand_twice_under_two_names() {
    let text = "filters = [\"hello\", \"northern\"]\n[hello]\ngreeting = \"hello\"\n[northern]\nplugin = \"hello\"\ngreeting = \"moin\"";
    let run = testkit::pipeline(text).send(testkit::chat("Qwen3-32B")).await;
    let greetings: Vec<_> = run.headers().get_all("x-hello").iter().collect();
    assert_eq!(greetings, ["moin", "hello"], "responses run from the last filter to the first");
}

#[tokio::test]
async fn refusals_and_the_gateways_own_answers_are_greeted_too() {
    let gateway = testkit::pipeline("filters = [\"hello\"]\n[hello]\ngreeting = \"moin\"");
    for request in [testkit::chat("Qwen3-32B").body("not json"), testkit::get("/v1/models")] {
        assert_eq!(gateway.send(request).await.header("x-hello"), Some("moin"));
    }
}

#[test]
fn a_misspelt_option_names_the_right_one() {
    let problems = testkit::problems("filters = [\"hello\"]\n[hello]\ngreting = \"moin\"");
    let told = "3:1: unknown field `greting`, did you mean `greeting`?";
    assert!(problems.iter().any(|problem| problem == told), "{problems:?}");
}
