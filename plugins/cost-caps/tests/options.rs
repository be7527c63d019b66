//! What the options may say, and where an error stands.

use vllm_gateway_cost_caps as _;
use vllm_gateway_sdk::{plugin_named, testkit};

/// The problems of these options, which begin on line 3.
fn problems(options: &str) -> Vec<String> {
    testkit::problems(&format!("filters = [\"cost-caps\"]\n[cost-caps]\n{options}\n"))
}

#[test]
fn any_cap_is_enough() {
    for options in ["max_choices = 1", "max_tokens = 4294967295", "max_prompts = 256"] {
        assert_eq!(problems(options), [""; 0], "{options}");
    }
    assert_eq!(problems("max_tokens = 8\ndefault_max_tokens = 8"), [""; 0]);
}

#[test]
fn a_filter_without_a_cap_is_told_what_to_set() {
    let wanted =
        "nothing is bounded here (set `max_choices`, `max_tokens` or `max_prompts`, or remove the filter)";
    let found = problems("");
    assert!(found.len() == 1 && found[0].ends_with(wanted), "{found:?}");
    let found = testkit::problems("filters = [\"cost-caps\"]");
    assert!(found.len() == 1 && found[0].ends_with(wanted), "{found:?}");
}

#[test]
fn a_default_belongs_to_a_cap_and_keeps_to_it() {
    assert_eq!(
        problems("max_tokens = 8\ndefault_max_tokens = 9"),
        ["4:22: must not be above `max_tokens`, which is 8"]
    );
    let found = problems("max_prompts = 8\ndefault_max_tokens = 9");
    assert!(
        found.len() == 1 && found[0].starts_with("4:22: says what is sent in place of nothing"),
        "{found:?}"
    );
}

#[test]
fn a_cap_is_a_whole_number_above_zero() {
    for value in ["0", "-1", "1.5", "\"8\"", "4294967296", "true"] {
        let found = problems(&format!("max_tokens = {value}"));
        assert!(found.len() == 1 && found[0].starts_with("3:14: "), "{value}: {found:?}");
    }
    let found = problems("max_token = 8");
    assert!(found[0].contains("did you mean `max_tokens`?"), "{found:?}");
}

#[test]
fn the_example_builds() {
    let def = plugin_named("cost-caps").expect("linked above");
    assert_eq!(problems(def.example), [""; 0]);
}
