//! The page of the rules names tests, and every one of them is there.

use std::{collections::BTreeMap, fs, path::Path};

/// Every `path::function` that the page names as a test, or as the place of one.
fn named(page: &str) -> Vec<(&str, &str)> {
    let quoted = page.split('`').skip(1).step_by(2);
    quoted.filter_map(|text| text.split_once(".rs::").map(|_| text.rsplit_once("::").unwrap())).collect()
}

#[test]
fn every_test_that_docs_security_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let named = named(&page);
    assert!(named.len() >= 80, "only {} tests are named", named.len());
    let mut sources: BTreeMap<&str, String> = BTreeMap::new();
    for (path, function) in named {
        let source = sources.entry(path).or_insert_with(|| {
            fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
        });
        let lines: Vec<_> = source.lines().map(str::trim_start).collect();
        let is_it = |line: &str| {
            line.split_once("fn ").is_some_and(|(_, rest)| rest.starts_with(&format!("{function}(")))
        };
        let at =
            lines.iter().position(|line| is_it(line)).unwrap_or_else(|| panic!("{path} has no `{function}`"));
        // `#[test]`, `#[tokio::test]`, or inside of `proptest!` and the suite of the stores.
        let above = lines[at.saturating_sub(4)..at].join(" ");
        let is_test = above.contains("test") || source.contains("store_suite!") || path.contains("/suite/");
        assert!(is_test, "{path}: `{function}` is no test");
    }
}

/// The rules are numbered by the sections of the document that they come from: none is left out.
#[test]
fn every_rule_stands_on_the_page() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/security.md")).unwrap();
    let rules = [10, 6, 9, 8, 8, 3, 9, 8, 5, 4, 2];
    for (section, count) in rules.into_iter().enumerate() {
        for rule in 1..=count {
            let number = format!("| {}.{rule} |", section + 1);
            assert!(page.contains(&number), "rule {number} is missing");
        }
    }
}
