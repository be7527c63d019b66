//! Whatever stands in the file: nothing panics, and each diagnostic stands at a place that the file has.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, path::Path};

use proptest::prelude::*;
use vllm_gateway_config::{Config, Diagnostic, Severity};
use vllm_gateway_sdk::Services;

fn check(text: &str) -> Vec<Diagnostic> {
    let loaded = Config::from_text("gateway.toml", text, Path::new("."), &Services::inert(), None);
    let failed = loaded.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    assert_eq!(loaded.config.is_none(), failed, "a configuration comes exactly where there are no errors");
    loaded.diagnostics
}

fn places_are_in_the_file(text: &str) {
    let lines: Vec<&str> = text.split('\n').collect();
    for diagnostic in check(text) {
        let line = lines.get(diagnostic.line - 1).unwrap_or_else(|| panic!("{diagnostic}"));
        assert!((1..=line.chars().count() + 1).contains(&diagnostic.column), "{diagnostic}");
        let _ = diagnostic.with_source().to_string();
    }
}

fn cases() -> Vec<String> {
    let files = fs::read_dir("tests/check").unwrap();
    files.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_any_text(text in any::<String>()) {
        places_are_in_the_file(&text);
    }

    #[test]
    fn of_text_that_looks_like_toml(
        parts in prop::collection::vec(prop::sample::select(vec![
            "[", "]", "[[", "]]", "{", "}", "=", ",", ".", "\n", "\r\n", " ", "\"", "'", "\"\"\"", "#", "ü", "\u{feff}",
            "server", "admin", "store", "kind", "pipelines", "filters", "upstreams", "plugin", "auth", "model-route",
            "models", "listen", "endpoints", "url", "routes", "\"/v1/*\"", "\"env:X\"", "1", "-1", "0x", "1e999", "true",
            "2026-01-01", "\"30s\"",
        ]), 0..60),
    ) {
        places_are_in_the_file(&parts.concat());
    }

    #[test]
    fn of_files_with_a_piece_missing(case in prop::sample::select(cases()), from in 0..2000usize, length in 0..40usize) {
        let characters: Vec<char> = case.chars().collect();
        let from = from.min(characters.len());
        let to = (from + length).min(characters.len());
        let text: String = characters[..from].iter().chain(&characters[to..]).collect();
        places_are_in_the_file(&text);
    }
}
