//! Request bodies: the recorded ones, and arbitrary ones against a whole JSON parser.

use proptest::prelude::*;
use vllm_gateway_wire::peek::{Amount, FieldValue, List, Peek, PeekError, Peeked};

use crate::recordings::request;

/// Peeks at a body cut in pieces.
pub(crate) fn peek<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Peeked, PeekError> {
    let mut peek = Peek::new();
    for piece in pieces {
        peek.feed(piece)?;
    }
    peek.finish()
}

fn message(body: &[u8]) -> String {
    peek([body]).unwrap_err().to_string()
}

#[test]
fn the_recorded_requests_that_vllm_serves_are_read() {
    for (name, model, stream) in [
        ("a02-chat", Some("Qwen3-32B"), false),
        ("a03-chat-stream", Some("Qwen3-32B"), true),
        ("a10h-completions-list-prompt-stream", Some("Qwen3-32B"), true),
        ("a11d-model-null", None, false),
        ("a11f-model-empty-string", None, false),
        ("a12b-missing-model", None, false),
        ("a12f-empty-object", None, false),
        ("a12m-utf8-bom", Some("Qwen3-32B"), false),
        ("a12n-json-nan", Some("Qwen3-32B"), false),
        ("a12o-lone-surrogate", Some("Qwen3-32B"), false),
        ("a21g-stream-as-string", Some("Qwen3-32B"), true),
        ("a21h-stream-as-int", Some("Qwen3-32B"), true),
        ("a21i-stream-null", Some("Qwen3-32B"), false),
    ] {
        let peeked = peek([request(name).as_slice()]).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((peeked.model_name(), peeked.stream), (model, stream), "{name}");
    }
    let other = peek([request("a11e-model-not-a-string").as_slice()]).unwrap();
    assert_eq!(other.model.unwrap().value, FieldValue::Other);
}

#[test]
fn the_recorded_requests_that_vllm_refuses_are_refused_with_the_place() {
    assert_eq!(message(&request("a12-malformed-json")), "malformed JSON at byte 36: the body ends too early");
    assert_eq!(message(b""), "the body is empty: a JSON object is expected");
    assert_eq!(
        message(&request("a12d-body-is-array")),
        "the body must be a JSON object: something else begins at byte 0"
    );
    assert_eq!(
        message(&request("a12e-body-is-null")),
        "the body must be a JSON object: something else begins at byte 0"
    );
    assert!(message(&request("a12k-invalid-utf8-body")).ends_with("not UTF-8"));
    assert_eq!(message(&request("a12l-duplicate-model-key")), "duplicate key \"model\" at byte 23");
}

#[test]
fn every_recorded_request_reads_the_same_wherever_it_is_cut() {
    for name in [
        "a02-chat",
        "a04-chat-stream-include-usage",
        "a10h-completions-list-prompt-stream",
        "a12-malformed-json",
        "a12k-invalid-utf8-body",
        "a12l-duplicate-model-key",
        "a12m-utf8-bom",
        "a12n-json-nan",
        "a12o-lone-surrogate",
        "a21e-stream-options-unknown-key",
    ] {
        let body = request(name);
        let whole = peek([body.as_slice()]);
        for cut in 0..=body.len() {
            let (head, tail) = body.split_at(cut);
            assert_eq!(peek([head, tail]), whole, "{name} cut at {cut}");
        }
        assert_eq!(peek(body.chunks(1)), whole, "{name} byte by byte");
    }
}

/// Arbitrary JSON objects in which the known keys are frequent.
pub(crate) fn body() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::{Map, Value};
    let key = || {
        prop_oneof![
            Just("model".to_owned()),
            Just("stream".to_owned()),
            Just("stream_options".to_owned()),
            Just("include_usage".to_owned()),
            Just("continuous_usage_stats".to_owned()),
            Just("prompt".to_owned()),
            Just("n".to_owned()),
            Just("max_tokens".to_owned()),
            Just("max_completion_tokens".to_owned()),
            Just("documents".to_owned()),
            Just("messages".to_owned()),
            ".{0,6}",
        ]
    };
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-2_i8..3).prop_map(Value::from),
        // Eighths: the oracle does not read every float back as it wrote it.
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
        ".{0,20}".prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 1..6).prop_map(Value::from),
        prop_oneof![Just("true"), Just("Off"), Just("Qwen3"), Just("1"), Just(" 2_0.0")]
            .prop_map(Value::from),
    ];
    let tree = leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect::<Map<_, _>>())),
        ]
    });
    prop::collection::vec((key(), tree), 0..6).prop_map(|m| Value::Object(m.into_iter().collect()))
}

/// `stream` as pydantic reads it.
fn streams(body: &serde_json::Value) -> bool {
    match body.get("stream") {
        Some(serde_json::Value::Bool(value)) => *value,
        Some(serde_json::Value::Number(value)) => value.as_f64() == Some(1.0),
        Some(serde_json::Value::String(value)) => {
            ["1", "on", "t", "true", "y", "yes"].contains(&value.to_ascii_lowercase().as_str())
        }
        _ => false,
    }
}

/// An amount as pydantic reads it, rounded up.
fn asks(value: Option<&serde_json::Value>) -> Option<u64> {
    use serde_json::Value;
    let number = match value? {
        Value::Null => return None,
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().replace('_', "").parse().ok(),
        Value::Array(_) | Value::Object(_) => None,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    Some(number.filter(|number| !number.is_nan()).map_or(u64::MAX, |number| number.ceil() as u64))
}

/// How many prompts stand here.
fn lists(list: List, value: Option<&serde_json::Value>) -> usize {
    use serde_json::Value;
    let count = |items: &Vec<Value>| {
        let counts = |item: &&Value| {
            item.is_array() || (list != List::Messages && (item.is_string() || item.is_object()))
        };
        items.iter().filter(counts).count()
    };
    match value {
        Some(Value::String(_)) => 1,
        Some(Value::Array(items)) => count(items),
        Some(Value::Object(members)) => {
            members.values().filter_map(Value::as_array).map(count).sum::<usize>().max(1)
        }
        _ => 0,
    }
}

proptest! {
    #[test]
    fn a_whole_parser_agrees_on_any_object(body in body(), pretty: bool, size in 1_usize..50) {
        let text = if pretty { serde_json::to_vec_pretty(&body) } else { serde_json::to_vec(&body) }.unwrap();
        let peeked = peek(text.chunks(size)).unwrap();
        let model = body.get("model").and_then(|model| model.as_str()).filter(|model| !model.is_empty());
        prop_assert_eq!(peeked.model_name(), model);
        prop_assert_eq!(peeked.stream, streams(&body));
        prop_assert_eq!(peeked.body_len, text.len());
        prop_assert_eq!(text[peeked.close], b'}');
        prop_assert_eq!(peeked.has_members, !body.as_object().unwrap().is_empty());
        for amount in Amount::ALL {
            let asked = peeked.cost.amount(amount);
            prop_assert_eq!(asked.most, asks(body.get(amount.name())));
            let last = asked.last.as_ref().map(|last| serde_json::from_slice(&text[last.range.clone()]).unwrap());
            prop_assert_eq!(last.as_ref(), body.get(amount.name()));
        }
        for list in List::ALL {
            prop_assert_eq!(peeked.cost.listed(list), lists(list, body.get(list.name())));
        }
        if let Some(field) = peeked.model {
            let value: serde_json::Value = serde_json::from_slice(&text[field.range]).unwrap();
            prop_assert_eq!(&value, &body["model"]);
        }
    }

    #[test]
    fn a_whole_parser_agrees_on_what_is_valid_after_any_change(
        body in body(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..4, any::<u8>()), 1..4),
        size in 1_usize..50,
    ) {
        let mut text = serde_json::to_vec(&body).unwrap();
        for (place, kind, byte) in changes {
            let place = place.index(text.len().max(1));
            let structural = b"{}[]\",:\\e-.0u \t\x01"[usize::from(byte) % 16];
            match kind {
                _ if text.is_empty() => text.push(byte),
                0 => text[place] = byte,
                1 => text.insert(place, structural),
                2 => drop(text.remove(place)),
                _ => text.truncate(place),
            }
        }
        let ours = peek(text.chunks(size));
        prop_assert_eq!(&ours, &peek([text.as_slice()]));
        let theirs = serde_json::from_slice::<serde_json::Value>(&text);
        match (&ours, &theirs) {
            (Ok(_), Ok(value)) => prop_assert!(value.is_object()),
            // Ours is stricter about these, theirs about numbers too large for them and halves of surrogate pairs.
            (
                Err(
                    PeekError::DuplicateModel { .. } | PeekError::ModelTooLong | PeekError::TooLong { .. },
                ),
                _,
            ) | (Err(_), Err(_)) => {}
            (Err(PeekError::NotAnObject { .. }), Ok(value)) => prop_assert!(!value.is_object()),
            (Ok(_), Err(error)) => {
                let error = error.to_string();
                let known = ["number out of range", "surrogate", "lone leading", "end of hex escape"];
                prop_assert!(known.iter().any(|known| error.contains(known)), "only theirs refuses: {error}");
            }
            (Err(error), Ok(_)) => prop_assert!(false, "only ours refuses: {error}"),
        }
    }

    #[test]
    fn no_bytes_at_all_make_it_panic(bytes: Vec<u8>, size in 1_usize..9) {
        prop_assert_eq!(peek(bytes.chunks(size)), peek([bytes.as_slice()]));
    }
}
