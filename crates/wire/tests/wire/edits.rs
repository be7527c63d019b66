//! Splices: what is asked for is there afterwards, and every other byte is as it was.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use vllm_gateway_wire::{
    edit::{Edits, ask_for_usage, rename_model, set_amount},
    peek::{Amount, Lax, StreamOptions},
};

use crate::requests::{body, peek};

/// The body in segments of this size.
pub(crate) fn segments(body: &[u8], size: usize) -> Vec<Bytes> {
    body.chunks(size).map(Bytes::copy_from_slice).collect()
}

fn apply(edits: &Edits, body: &[u8]) -> String {
    String::from_utf8(edits.apply(&segments(body, 7)).concat()).unwrap()
}

fn asked(body: &str) -> String {
    apply(&ask_for_usage(&peek([body.as_bytes()]).unwrap()), body.as_bytes())
}

fn renamed(body: &str, new: &str) -> String {
    apply(&rename_model(&peek([body.as_bytes()]).unwrap(), new), body.as_bytes())
}

#[test]
fn usage_is_asked_for_and_all_else_stays_as_it_was() {
    const BOTH: &str = r#"{"include_usage":true,"continuous_usage_stats":true}"#;
    for (before, after) in [
        (r#"{"stream":true}"#, format!(r#"{{"stream":true,"stream_options":{BOTH}}}"#)),
        ("{\"stream\" : \"Yes\" ,\n \"x\":1.50 }\n", format!("{{\"stream\" : \"Yes\" ,\n \"x\":1.50 ,\"stream_options\":{BOTH}}}\n")),
        (r#"{"stream_options": null, "stream":1}"#, format!(r#"{{"stream_options": {BOTH}, "stream":1}}"#)),
        (r#"{"stream":1.0,"stream_options":{ }}"#, r#"{"stream":1.0,"stream_options":{ "include_usage":true,"continuous_usage_stats":true}}"#.to_owned()),
        (
            r#"{"stream":true,"stream_options":{"include_usage": true}}"#,
            r#"{"stream":true,"stream_options":{"include_usage": true,"continuous_usage_stats":true}}"#.to_owned(),
        ),
        (
            r#"{"stream":true,"stream_options":{"continuous_usage_stats":false,"a":{"include_usage":false}}}"#,
            r#"{"stream":true,"stream_options":{"continuous_usage_stats":true,"a":{"include_usage":false},"include_usage":true}}"#.to_owned(),
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":"on","continuous_usage_stats":null}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":"on","continuous_usage_stats":true}}"#.to_owned(),
        ),
        // Of two the last counts, at each level; keys may be escaped.
        (
            r#"{"stream_options":{"include_usage":true},"stream":true,"stream_options":{"include_usage":true,"include\u005fusage":0}}"#,
            r#"{"stream_options":{"include_usage":true},"stream":true,"stream_options":{"include_usage":true,"include\u005fusage":true,"continuous_usage_stats":true}}"#.to_owned(),
        ),
    ] {
        assert_eq!(asked(before), after);
    }
}

#[test]
fn nothing_is_asked_for_where_vllm_would_not_stream_or_would_refuse() {
    for body in [
        r#"{"stream":false}"#,
        "{}",
        r#"{"stream":false,"stream_options":{"include_usage":true}}"#,
        r#"{"stream":true,"stream":null}"#,
        r#"{"stream":"maybe"}"#,
        r#"{"stream":true,"stream_options":[]}"#,
        r#"{"stream":true,"stream_options":"x"}"#,
        r#"{"stream":true,"stream_options":{"include_usage":"perhaps"}}"#,
        r#"{"stream":true,"stream_options":{"continuous_usage_stats":[true]}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}"#,
    ] {
        assert_eq!(asked(body), body);
    }
}

#[test]
fn a_model_is_renamed_wherever_it_stands_or_does_not() {
    for (before, after) in [
        (r#"{"model" : "a","x":1}"#, r#"{"model" : "b \"q\"","x":1}"#),
        (r#"{"x":[{"model":"a"}],"mod\u0065l":null}"#, r#"{"x":[{"model":"a"}],"mod\u0065l":"b \"q\""}"#),
        (r#"{"model":["a"] }"#, r#"{"model":"b \"q\"" }"#),
        (r#"{"x":1 }"#, r#"{"x":1 ,"model":"b \"q\""}"#),
        ("{ }", r#"{ "model":"b \"q\""}"#),
        (r#"{"model":""}"#, r#"{"model":"b \"q\""}"#),
    ] {
        assert_eq!(renamed(before, "b \"q\""), after);
    }
    assert_eq!(renamed(r#"{"model":"\u0061"}"#, "a"), r#"{"model":"\u0061"}"#, "the name is right already");
}

#[test]
fn an_amount_is_set_wherever_it_stands_or_does_not() {
    let set = |body: &str| {
        apply(&set_amount(&peek([body.as_bytes()]).unwrap(), Amount::MaxTokens, 16), body.as_bytes())
    };
    for (before, after) in [
        (r#"{"max_tokens" : null,"x":1}"#, r#"{"max_tokens" : 16,"x":1}"#),
        (r#"{"max\u005ftokens":[1, 2] }"#, r#"{"max\u005ftokens":16 }"#),
        (r#"{"x":{"max_tokens":5} }"#, r#"{"x":{"max_tokens":5} ,"max_tokens":16}"#),
        (r#"{"max_tokens":9,"max_tokens":null}"#, r#"{"max_tokens":9,"max_tokens":16}"#),
        (r#"{"max_tokens":16.0}"#, r#"{"max_tokens":16.0}"#),
        ("{ }", "{ }"),
    ] {
        assert_eq!(set(before), after);
    }
}

#[test]
fn all_changes_go_together_even_at_one_place() {
    let body = br#"{"stream":true}"#;
    let peeked = peek([body.as_slice()]).unwrap();
    let edits = rename_model(&peeked, "b").and(set_amount(&peeked, Amount::MaxTokens, 7));
    let edits = edits.and(ask_for_usage(&peeked));
    let after: Value = serde_json::from_str(&apply(&edits, body)).unwrap();
    let options = json!({"include_usage": true, "continuous_usage_stats": true});
    assert_eq!(after, json!({"stream": true, "model": "b", "max_tokens": 7, "stream_options": options}));
}

#[test]
fn what_is_not_replaced_is_shared_and_not_copied() {
    let body = Bytes::from(format!(r#"{{"model":"a","prompt":"{}","stream":true}}"#, "x".repeat(100_000)));
    let peeked = peek([body.as_ref()]).unwrap();
    let edits = rename_model(&peeked, "b").and(ask_for_usage(&peeked));
    let spliced = edits.apply(std::slice::from_ref(&body));
    let inside = |part: &Bytes| body.as_ptr_range().contains(&part.as_ptr());
    let shared: usize = spliced.iter().filter(|part| inside(part)).map(Bytes::len).sum();
    assert_eq!(shared, body.len() - "\"a\"".len());
}

#[test]
fn of_overlapping_replacements_the_earlier_place_counts() {
    let edits = Edits::none().replace(2..4, "X").replace(0..3, "Y").insert(4, "!").insert(4, "?");
    assert_eq!(apply(&edits, b"abcdef"), "Yd!?ef");
    assert!(Edits::none().is_empty() && !edits.is_empty());
}

/// The value of `options.key` after the change.
fn is_on(body: &Value, key: &str) -> bool {
    body["stream_options"][key].to_string().parse::<Value>().is_ok_and(|value| Lax::True == lax(&value))
}

fn lax(value: &Value) -> Lax {
    match value {
        Value::Bool(true) => Lax::True,
        Value::Number(number) if number.as_f64() == Some(1.0) => Lax::True,
        Value::String(text) => Lax::of_text(text.as_bytes()),
        _ => Lax::Invalid,
    }
}

proptest! {
    #[test]
    fn any_streaming_body_asks_for_usage_afterwards(mut body in body(), pretty: bool, size in 1_usize..40) {
        body["stream"] = json!(true);
        let text = if pretty { serde_json::to_vec_pretty(&body) } else { serde_json::to_vec(&body) }.unwrap();
        let peeked = peek([text.as_slice()]).unwrap();
        let edits = ask_for_usage(&peeked);
        let spliced = edits.apply(&segments(&text, size)).concat();
        let mut after: Value = serde_json::from_slice(&spliced).unwrap();
        if edits.is_empty() {
            prop_assert_eq!(&spliced, &text);
            let refused = match &peeked.stream_options {
                StreamOptions::Other(_) => true,
                StreamOptions::Object(options) => {
                    [&options.include_usage, &options.continuous_usage_stats]
                        .into_iter().flatten().any(|flag| flag.value == Lax::Invalid)
                }
                _ => false,
            };
            prop_assert!(refused || peeked.wants_running_usage());
        } else {
            prop_assert!(is_on(&after, "include_usage") && is_on(&after, "continuous_usage_stats"));
            let mut before = body.clone();
            for tree in [&mut after, &mut before] {
                if let Some(options) = tree.get_mut("stream_options").and_then(Value::as_object_mut) {
                    options.remove("include_usage");
                    options.remove("continuous_usage_stats");
                }
                if tree.get("stream_options").is_none_or(|options| options.is_null() || options == &json!({})) {
                    tree.as_object_mut().unwrap().remove("stream_options");
                }
            }
            prop_assert_eq!(after, before);
        }
    }

    #[test]
    fn any_body_names_the_new_model_afterwards(mut body in body(), new in ".{0,12}", size in 1_usize..40) {
        let text = serde_json::to_vec(&body).unwrap();
        let spliced = rename_model(&peek([text.as_slice()]).unwrap(), &new).apply(&segments(&text, size)).concat();
        body["model"] = json!(new);
        prop_assert_eq!(serde_json::from_slice::<Value>(&spliced).unwrap(), body);
    }

    #[test]
    fn any_body_asks_for_the_new_amount_afterwards(mut body in body(), new: u32, size in 1_usize..40) {
        body["x"] = json!(1);
        let text = serde_json::to_vec(&body).unwrap();
        let peeked = peek([text.as_slice()]).unwrap();
        let spliced = set_amount(&peeked, Amount::MaxTokens, new).apply(&segments(&text, size)).concat();
        let mut after: Value = serde_json::from_slice(&spliced).unwrap();
        let asked = peek([spliced.as_slice()]).unwrap().cost.amount(Amount::MaxTokens).clone();
        prop_assert_eq!(asked.last.unwrap().value, Some(new.into()));
        body["max_tokens"] = json!(new);
        after["max_tokens"] = json!(new);
        prop_assert_eq!(after, body);
    }
}
