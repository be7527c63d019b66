//! What the options may say, and where an error stands.

use vllm_gateway_model_route as _;
use vllm_gateway_sdk::{plugin_named, testkit};

/// The problems of these options, which begin on line 4.
fn problems(options: &str) -> Vec<String> {
    testkit::problems(&format!(
        "filters = [\"model-route\"]\nupstreams = [\"big\", \"small\"]\n[model-route]\n{options}\n"
    ))
}

#[test]
fn both_ways_to_write_a_model_are_taken() {
    assert_eq!(
        problems(
            r#"models = { "a/b.c" = "big", d = { upstream = "small", model = "e", fallbacks = ["a/b.c"] } }"#
        ),
        [""; 0]
    );
    assert_eq!(
        problems("[model-route.models]\na = \"big\"\n[model-route.models.b]\nupstream = \"small\""),
        [""; 0]
    );
}

#[test]
fn an_unknown_upstream_is_told_where_it_is_named() {
    assert_eq!(problems("models = { a = \"bog\" }"), ["4:16: no upstream named `bog` (did you mean `big`?)"]);
    assert_eq!(
        problems("models = { a = { upstream = \"smal\" } }"),
        ["4:29: no upstream named `smal` (did you mean `small`?)"]
    );
    assert_eq!(
        problems("models = { a = \"elsewhere\" }"),
        ["4:16: no upstream named `elsewhere` (declare it as `[upstreams.elsewhere]`)"]
    );
}

#[test]
fn a_default_must_be_one_of_the_models() {
    assert_eq!(
        problems("models = { Qwen = \"big\" }\ndefault_model = \"Qwem\""),
        ["5:17: no model named `Qwem` in `models` (did you mean `Qwen`?)"]
    );
    assert_eq!(
        problems("models = { a = \"big\", b = \"big\" }\ndefault_model = \"something-else\""),
        ["5:17: no model named `something-else` in `models` (`models` has `a`, `b`)"]
    );
}

#[test]
fn fallbacks_must_be_other_models_each_named_once() {
    let with = |fallbacks: &str| {
        problems(&format!(
            "[model-route.models]\nb = \"big\"\na = {{ upstream = \"big\", fallbacks = {fallbacks} }}"
        ))
    };
    assert_eq!(with(r#"["b"]"#), [""; 0]);
    assert_eq!(with(r#"["b", "c"]"#), ["6:43: no model named `c` in `models` (`models` has `a`, `b`)"]);
    assert_eq!(with(r#"["a"]"#), ["6:38: a model cannot be its own fallback"]);
    assert_eq!(with(r#"["b", "b"]"#), ["6:43: this fallback is named twice"]);
}

#[test]
fn a_mirror_is_another_upstream_or_another_model_and_gets_a_share() {
    let with = |mirror: &str| {
        problems(&format!("[model-route.models]\na = {{ upstream = \"big\", mirror = {{ {mirror} }} }}"))
    };
    for good in [
        r#"upstream = "small", percent = 10"#,
        r#"upstream = "small", model = "b", percent = 0.5"#,
        r#"upstream = "big", model = "b", percent = 100"#,
        r#"upstream = "small", percent = 0"#,
    ] {
        assert_eq!(with(good), [""; 0], "{good}");
    }
    assert_eq!(
        with(r#"upstream = "smal", percent = 1"#),
        ["5:47: no upstream named `smal` (did you mean `small`?)"]
    );
    assert_eq!(
        with(r#"upstream = "small", model = "", percent = 1"#),
        ["5:64: the model to send must have a name"]
    );
    for absurd in ["-1", "100.1", "1e9", "nan", "inf"] {
        let found = with(&format!(r#"upstream = "small", percent = {absurd}"#));
        assert_eq!(found, ["5:66: a share of the requests is from 0 to 100 percent"], "{absurd}");
    }
    let same = "the mirror is what serves this model already: name another upstream or another model";
    for found in
        [with(r#"upstream = "big", percent = 1"#), with(r#"upstream = "big", model = "a", percent = 1"#)]
    {
        assert_eq!(found, [format!("5:34: {same}")]);
    }
    for (wrong, expected) in [
        (r#"upstream = "small""#, "missing field `percent`"),
        ("percent = 1", "missing field `upstream`"),
        (r#"upstream = "small", percent = "10""#, "expected a number"),
        (r#"upstream = "small", percent = 1, modl = "b""#, "did you mean `model`?"),
    ] {
        let found = with(wrong);
        assert!(found.len() == 1 && found[0].contains(expected), "{wrong}: {found:?}");
    }
}

#[test]
fn in_a_list_each_share_has_a_mirror_of_its_own() {
    let found = problems(
        "[model-route.models]\na = [{ upstream = \"big\", mirror = { upstream = \"small\", percent = 1 } }, { upstream = \"small\", mirror = { upstream = \"smal\", percent = 101 } }]",
    );
    let expected = [
        "no upstream named `smal` (did you mean `small`?)",
        "a share of the requests is from 0 to 100 percent",
    ];
    for expected in expected {
        assert_eq!(found.iter().filter(|found| found.ends_with(expected)).count(), 1, "{found:#?}");
    }
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn every_wrong_entry_is_told_at_its_place() {
    let found = problems(
        "[model-route.models]\na = 7\nb = { upstream = \"big\", modl = \"x\" }\nc = { upstream = true }\nd = { model = \"x\" }\ne = { upstream = \"big\", fallbacks = \"f\" }",
    );
    let expected = [
        "5:5: expected the name of an upstream, a table with `upstream`, or a list of such tables",
        "6:25: unknown field `modl`, did you mean `model`?",
        "7:18: expected a string",
        "8:5: missing field `upstream`",
        "9:37: expected an array",
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn every_mistake_between_the_options_is_told_in_one_run() {
    let found = problems(
        "default_model = \"nix\"\n[model-route.models]\na = \"bog\"\nb = { upstream = \"smal\", fallbacks = [\"c\", \"b\"] }",
    );
    let expected = [
        "no model named `nix` in `models` (`models` has `a`, `b`)",
        "no upstream named `bog` (did you mean `big`?)",
        "no upstream named `smal` (did you mean `small`?)",
        "no model named `c` in `models` (`models` has `a`, `b`)",
        "a model cannot be its own fallback",
    ];
    for expected in expected {
        assert_eq!(
            found.iter().filter(|found| found.ends_with(expected)).count(),
            1,
            "{expected}: {found:#?}"
        );
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn names_must_not_be_empty() {
    assert!(
        problems("models = {}")[0].starts_with("4:10: no model is named here"),
        "{:?}",
        problems("models = {}")
    );
    assert!(problems("models = { \"\" = \"big\" }")[0].starts_with("4:17: a model needs a name"));
    assert_eq!(
        problems("models = { a = { upstream = \"big\", model = \"\" } }"),
        ["4:44: the model to send must have a name"]
    );
}

#[test]
fn models_in_an_array_are_told_the_form() {
    let found = problems("models = [\"a\"]");
    assert!(found.len() == 1 && found[0].contains("models = { \"Qwen3-32B\" = \"qwen3-32b\" }"), "{found:?}");
}

#[test]
fn models_are_needed() {
    let found = problems("default_model = \"a\"");
    assert!(found.len() == 1 && found[0].contains("missing field `models`"), "{found:?}");
}

#[test]
fn the_schema_tells_of_both_ways_to_write_a_model() {
    let mut generator = schemars::SchemaGenerator::default();
    let def = plugin_named("model-route").expect("linked above");
    let schema = serde_json::to_value((def.schema)(&mut generator)).expect("a schema is JSON");
    let entry = &schema["properties"]["models"]["additionalProperties"]["anyOf"];
    assert_eq!(entry[0]["type"], "string");
    assert_eq!(entry[1]["type"], "object");
    assert_eq!(entry[1]["required"], serde_json::json!(["upstream"]));
    assert_eq!(entry[1]["additionalProperties"], false);
    assert!(entry[1]["properties"]["fallbacks"]["description"].as_str().is_some_and(|text| !text.is_empty()));
}

#[test]
fn the_example_builds() {
    let def = plugin_named("model-route").expect("linked above");
    let text =
        format!("filters = [\"model-route\"]\nupstreams = [\"qwen3-32b\"]\n[model-route]\n{}\n", def.example);
    assert_eq!(testkit::problems(&text), [""; 0]);
}

#[test]
fn in_a_list_each_share_is_judged_at_its_place() {
    let found = problems(
        "[model-route.models]\na = [{ upstream = \"big\", weight = 0 }]\nb = [{ upstream = \"big\" }, { upstream = \"bag\" }]\nc = []\nd = [{ upstream = \"big\" }, { upstream = \"big\", fallbacks = [\"d\"] }]",
    );
    let mut found = found;
    found.sort();
    let expected = [
        "5:5: nothing serves this model: give one of the list a `weight`",
        "6:41: no upstream named `bag` (did you mean `big`?)",
        "7:5: nothing serves this model: give one of the list a `weight`",
        "8:61: a model cannot be its own fallback",
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}
