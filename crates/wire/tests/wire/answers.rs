//! Answers in one piece: their usage is found wherever it stands and however they are cut.

use proptest::prelude::*;
use vllm_gateway_wire::{
    unary::{BodyReader, usage_of_metadata},
    usage::Usage,
};

use crate::recordings::{answer, recording};

fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Option<Usage> {
    let mut reader = BodyReader::new();
    chunks.into_iter().for_each(|chunk| reader.push(chunk));
    reader.usage()
}

/// What a whole JSON parser sees.
fn oracle(body: &[u8]) -> Option<Usage> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    Usage::read(body.get("usage")?.to_string().as_bytes())
}

#[test]
fn usage_of_every_recorded_answer_is_found_wherever_it_is_cut() {
    let mut found = 0;
    for name in [
        "a02-chat",
        "a06b-chat-n2",
        "a10-completions",
        "a10g-completions-list-prompt",
        "a10i-completions-token-ids",
        "a12-malformed-json",
        "a17-responses",
        "a18-messages",
        "b05b-prompt-tokens-details-again",
        "e02-embeddings",
        "e04-score",
        "e05-rerank",
        "w02-transcription",
    ] {
        let body = answer(name);
        let expected = oracle(&body);
        found += usize::from(expected.is_some());
        for cut in 0..=body.len() {
            let (head, tail) = body.split_at(cut);
            assert_eq!(read([head, tail]), expected, "{name} cut at {cut}");
        }
        for size in [1, 2, 3, 7, 100] {
            assert_eq!(read(body.chunks(size)), expected, "{name} in pieces of {size}");
        }
    }
    assert_eq!(found, 11, "all but the error and the one that counts seconds");
}

#[test]
fn an_answer_that_did_not_come_whole_has_no_usage() {
    let body = answer("a02-chat");
    for end in 0..body.len() {
        assert_eq!(read([&body[..end]]), None, "{end} bytes");
    }
}

#[test]
fn embeddings_as_bytes_have_their_usage_in_a_header() {
    let head = recording("e02j-embeddings-bytes").head;
    let metadata = head.lines().find_map(|line| line.strip_prefix("metadata: ")).unwrap();
    let expected = Usage { prompt: Some(3), total: Some(3), ..Usage::default() };
    assert_eq!(usage_of_metadata(metadata.as_bytes()), Some(expected));
    assert_eq!(usage_of_metadata(b"not json"), None);
}

/// JSON in which the word `usage` is everywhere: as key, as value, nested, escaped.
fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::{Map, Value, json};
    let word = || prop_oneof![Just("usage".to_owned()), Just("\"usage".to_owned()), "[a-z\\\\\"{}:]{0,8}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<u32>().prop_map(Value::from),
        word().prop_map(Value::from),
        any::<u16>().prop_map(|n| json!({"prompt_tokens": n, "total_tokens": n})),
    ];
    let tree = leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((word(), inner), 0..5)
                .prop_map(|m| Value::Object(m.into_iter().collect::<Map<_, _>>())),
        ]
    });
    prop::collection::vec((word(), tree), 0..6).prop_map(|m| Value::Object(m.into_iter().collect()))
}

proptest! {
    #[test]
    fn a_whole_parser_agrees_on_any_answer(body in json(), pretty: bool, size in 1_usize..40) {
        let text = if pretty { serde_json::to_vec_pretty(&body) } else { serde_json::to_vec(&body) }.unwrap();
        prop_assert_eq!(read(text.chunks(size)), oracle(&text));
    }
}
