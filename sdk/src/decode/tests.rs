//! What `decode` reports, and where.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, num::NonZeroU32};

use serde::Deserialize;
use toml::{Spanned, de::DeTable};

use super::*;
use crate::DurationText;

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    rate: NonZeroU32,
    wait: DurationText,
    mode: Mode,
    pair: Option<Pair>,
    pairs: Vec<Pair>,
    named: BTreeMap<String, Pair>,
    waits: Vec<DurationText>,
}

impl Default for Options {
    fn default() -> Self {
        let (rate, wait) = (NonZeroU32::MIN, DurationText::seconds(1));
        Self {
            rate,
            wait,
            mode: Mode::Gentle,
            pair: None,
            pairs: Vec::new(),
            named: BTreeMap::new(),
            waits: Vec::new(),
        }
    }
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Gentle,
    Strict,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoded")]
struct Pair {
    left: String,
    right: String,
    #[serde(default)]
    count: u32,
}

fn parse(text: &str) -> Value<'_> {
    let table = DeTable::parse(text).unwrap();
    Spanned::new(table.span(), DeValue::Table(table.into_inner()))
}

/// Each problem as `what stands at its place: message (hint)`.
fn problems(text: &str) -> Vec<String> {
    let (_, problems) = decode::<Options>(&parse(text));
    let mut lines: Vec<String> = problems
        .into_iter()
        .map(|problem| {
            let place = problem.span.map_or("?", |span| text.get(span).unwrap());
            let hint = problem.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{place}: {}{hint}", problem.message)
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn a_sound_table_decodes_without_problems() {
    let (options, problems) = decode::<Options>(&parse("rate = 3\nwait = \"2s\"\nmode = \"strict\""));
    let options = options.unwrap();
    assert_eq!((options.rate.get(), options.wait, options.mode), (3, DurationText::seconds(2), Mode::Strict));
    assert!(options.pair.is_none() && options.pairs.is_empty() && options.named.is_empty());
    assert_eq!(problems, []);
}

#[test]
fn all_problems_are_told_in_one_run() {
    let text =
        "rate = 0\nwait = \"soon\"\nmode = \"strikt\"\nextra = 1\npairs = [{ left = 1, right = \"r\" }, 7]\n";
    let wanted = [
        "\"soon\": `soon` is not a duration; write it with ms, s, m, h or d, like \"30s\", \"500ms\" or \"1h30m\"",
        "\"strikt\": unknown value `strikt`, did you mean `strict`?",
        "0: expected a whole number, 1 or more, that is not too large, found integer `0`",
        "1: expected a string, found integer `1` (strings stand in quotes; durations are written \"30s\", sizes \"32MiB\")",
        "7: expected a table, found integer `7`",
        "extra: unknown field `extra` (known here: rate, wait, mode, pair, pairs, named, waits)",
    ];
    assert_eq!(problems(text), wanted);
}

#[test]
fn every_missing_field_is_told_at_its_table() {
    let told = problems("pair = { count = 1 }");
    assert_eq!(told, ["{ count = 1 }: missing field `left`", "{ count = 1 }: missing field `right`"]);
}

#[test]
fn a_field_that_was_wrong_is_not_also_missing() {
    assert_eq!(
        problems("pair = { left = true, right = \"r\" }"),
        ["true: expected a string, found boolean `true`"]
    );
}

#[test]
fn a_misspelt_field_is_not_also_missing() {
    let told = problems(
        "pair = { left = \"l\", rihgt = \"r\", count = 1 }\npairs = [{ lfet = 1 }, { left = \"l\" }]",
    );
    let wanted = [
        "lfet: unknown field `lfet`, did you mean `left`?",
        "rihgt: unknown field `rihgt`, did you mean `right`?",
        "{ left = \"l\" }: missing field `right`",
        "{ lfet = 1 }: missing field `right`",
    ];
    assert_eq!(told, wanted);
}

#[test]
fn a_value_that_should_stand_in_brackets_is_shown_in_them() {
    let told = problems("waits = \"1s\"\npairs = { left = \"l\", right = \"r\" }");
    let wanted = [
        "\"1s\": expected an array, found string \"1s\" (write `waits = [\"1s\"]`)",
        "{ left = \"l\", right = \"r\" }: expected an array, found a table (an array of tables stands in brackets: \
         `pairs = [{ … }]`, or has headers in two: `[[…pairs]]`)",
    ];
    assert_eq!(told, wanted);
    // What would be wrong in brackets, too, is not proposed.
    assert_eq!(
        problems("waits = \"soon\"\npairs = 3"),
        [
            "\"soon\": expected an array, found string \"soon\" (an array stands in brackets: `waits = […]`)",
            "3: expected an array, found integer `3` (an array stands in brackets: `pairs = […]`)",
        ]
    );
}

#[test]
fn fields_are_missing_by_table_also_when_elements_before_went() {
    let told = problems("pairs = [{ left = true, right = \"r\" }, { right = \"r\" }, { left = \"l\" }]");
    let wanted = [
        "true: expected a string, found boolean `true`",
        "{ left = \"l\" }: missing field `right`",
        "{ right = \"r\" }: missing field `left`",
    ];
    assert_eq!(told, wanted);
}

#[test]
fn elements_of_an_array_are_judged_one_by_one() {
    let told = problems("waits = [\"1s\", \"soon\", \"2s\", \"late\", true, \"soon\"]");
    let duration = |word| {
        format!(
            "\"{word}\": `{word}` is not a duration; write it with ms, s, m, h or d, like \"30s\", \"500ms\" or \"1h30m\""
        )
    };
    let boolean = "true: expected a string, found boolean `true`".to_owned();
    assert_eq!(told, [duration("late"), duration("soon"), duration("soon"), boolean]);
}

#[test]
fn problems_in_tables_with_headers_stand_at_their_keys() {
    let text = "[named.one]\nleft = \"l\"\nrigth = \"r\"\n\n[[pairs]]\nleft = true\nright = \"r\"\n[[pairs]]\nlast = 1\n";
    let wanted = [
        "[[pairs]]: missing field `left`",
        "[[pairs]]: missing field `right`",
        "last: unknown field `last` (known here: left, right, count)",
        "rigth: unknown field `rigth`, did you mean `right`?",
        "true: expected a string, found boolean `true`",
    ];
    assert_eq!(problems(text), wanted);
}

#[test]
fn a_table_with_problems_is_not_handed_out() {
    let (options, problems) = decode::<Options>(&parse("rate = 3\nwait = 1"));
    assert!(options.is_none());
    assert_eq!(problems.len(), 1);
}

#[test]
fn a_value_of_the_wrong_kind_is_one_problem() {
    let text = "options = 3";
    let value = parse(text);
    let (options, problems) = decode::<Options>(child(&value, "options").unwrap());
    assert!(options.is_none());
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].message, "expected a table, found integer `3`");
}

#[test]
fn near_misses_are_found_and_strangers_are_not() {
    assert_eq!(near_miss("model-rout", ["auth", "model-route"]), Some("model-route"));
    assert_eq!(near_miss("Max_Body_Size", ["max_body_size", "listen"]), Some("max_body_size"));
    assert_eq!(near_miss("max-body-size", ["max_body_size", "listen"]), Some("max_body_size"));
    assert_eq!(near_miss("atuh", ["auth"]), Some("auth"));
    assert_eq!(near_miss("x", ["y"]), None);
    assert_eq!(near_miss("cache", ["auth", "access-log"]), None);
    assert_eq!(near_miss("", ["a"]), None);
}

#[test]
fn a_part_is_found_by_its_path() {
    let text = "[models.\"a.b\"]\nlist = [1, { x = 22 }]\n";
    let value = parse(text);
    let at = |path: &[&str]| {
        let path: Vec<String> = path.iter().map(ToString::to_string).collect();
        span_of(&value, &path).map(|span| &text[span])
    };
    assert_eq!(at(&["models", "a.b", "list", "1", "x"]), Some("22"));
    assert_eq!(at(&["models", "a.b", "list", "7"]), Some("[1, { x = 22 }]"));
    assert_eq!(at(&["nowhere"]), None);
}
