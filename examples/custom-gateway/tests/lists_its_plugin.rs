//! A binary of one's own knows one's own plugin, and all that come with the gateway.
#![allow(clippy::unwrap_used)]

use std::process::Command;

/// What the binary says to these arguments, when all is well.
fn says(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_custom-gateway")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_list_of_plugins_has_ones_own_beside_the_others() {
    let list = says(&["plugins"]);
    for name in ["hello", "auth", "model-route", "access-log", "cost-caps"] {
        assert!(list.lines().any(|line| line.trim_start().starts_with(name)), "{name} is missing:\n{list}");
    }
}

#[test]
fn its_options_are_explained_by_their_doc_comments() {
    let explained = says(&["plugins", "hello"]);
    assert!(explained.contains("greeting"), "{explained}");
    assert!(explained.contains("Value of the `x-hello` response header"), "{explained}");
}

#[test]
fn a_plugin_without_an_example_is_shown_with_what_it_requires() {
    let explained = says(&["plugins", "hello"]);
    assert!(explained.ends_with("Example\n\n  [filters.hello]\n  greeting = \"text\"\n"), "{explained}");
}

#[test]
fn the_schema_of_the_configuration_knows_its_options() {
    assert!(says(&["schema"]).contains("\"greeting\""));
}
