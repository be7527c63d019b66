//! The peek against any body: the same wherever it is cut, and of one mind with a whole parser.

use serde_json::value::RawValue;

use super::{CUT, json::Members, pieces, shown};
use crate::peek::{Amount, List, MAX_DEPTH, Peek, PeekError, Peeked, StreamOptions};

/// Three bytes say where the body is cut; the rest is the body.
pub fn peek(data: &[u8]) {
    let Some((cut, body)) = data.split_first_chunk::<CUT>() else { return };
    let whole = read([body]);
    assert_eq!(read(pieces(body, *cut)), whole, "cut as {cut:?}");
    match (&whole, Members::of(body)) {
        (Ok(peeked), Some(members)) => assert_same(body, peeked, &members),
        (Ok(_), None) => {
            let may_differ = [&b"NaN"[..], b"Infinity", b"\xEF\xBB\xBF", b"\\u"];
            let differs = may_differ.iter().any(|odd| memchr::memmem::find(body, odd).is_some());
            assert!(differs, "it was taken for JSON: {}", shown(body));
        }
        (Err(error), Some(_)) => {
            let is_ours = matches!(
                error,
                PeekError::TooDeep { .. }
                    | PeekError::DuplicateModel { .. }
                    | PeekError::ModelTooLong
                    | PeekError::TooLong { .. }
                    | PeekError::ModelNotText
            );
            assert!(is_ours, "it was not taken for JSON ({error}): {}", shown(body));
        }
        (Err(_), None) => {}
    }
    if let Err(error) = whole {
        assert_place(error, body.len());
    }
}

/// What the peek says of a body in these pieces.
pub(super) fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Peeked, PeekError> {
    let mut peek = Peek::new();
    pieces.into_iter().try_for_each(|piece| peek.feed(piece))?;
    peek.finish()
}

fn assert_same(body: &[u8], peeked: &Peeked, members: &Members) {
    let text = shown(body);
    assert_eq!(peeked.body_len, body.len());
    assert_eq!(body.get(peeked.close), Some(&b'}'));
    assert!(body[peeked.close + 1..].trim_ascii().is_empty(), "{text}");
    assert_eq!(peeked.has_members, !members.is_empty(), "{text}");

    let models = members.all("model");
    assert!(models.len() <= 1, "two models: {text}");
    let place = peeked.model.as_ref().map(|field| &body[field.range.clone()]);
    assert_eq!(place, models.first().map(|raw| raw.as_bytes()), "{text}");
    let name = models.first().and_then(|raw| serde_json::from_str::<String>(raw).ok());
    assert_eq!(peeked.model_name(), name.as_deref().filter(|name| !name.is_empty()), "{text}");

    assert_cost(body, peeked, members);
    if let Some(streams) = plain(members.last("stream")) {
        assert_eq!(peeked.stream, streams, "{text}");
    }
    match (&peeked.stream_options, members.last("stream_options")) {
        (StreamOptions::Absent, None) => {}
        (StreamOptions::Null(range), Some("null")) => assert_eq!(&body[range.clone()], b"null"),
        (StreamOptions::Object(options), Some(raw)) if raw.starts_with('{') => {
            assert_eq!(&body[options.range.clone()], raw.as_bytes(), "{text}");
            let Some(inner) = Members::of(raw.as_bytes()) else { return };
            assert_eq!(options.has_members, !inner.is_empty(), "{text}");
            if let Some(wanted) = plain(inner.last("include_usage")) {
                assert_eq!(peeked.wants_usage(), wanted, "{text}");
            }
        }
        (StreamOptions::Other(range), Some(raw)) if !raw.starts_with('{') && raw != "null" => {
            assert_eq!(&body[range.clone()], raw.as_bytes(), "{text}");
        }
        (ours, theirs) => panic!("{ours:?} is not {theirs:?}: {text}"),
    }
}

/// Asserts that no key that asks for an amount or holds prompts was overlooked, in whichever place it stands.
fn assert_cost(body: &[u8], peeked: &Peeked, members: &Members) {
    let text = shown(body);
    for amount in Amount::ALL {
        let asked = peeked.cost.amount(amount);
        let all = members.all(amount.name());
        let place = asked.last.as_ref().map(|last| &body[last.range.clone()]);
        assert_eq!(place, all.last().map(|raw| raw.as_bytes()), "{text}");
        assert_eq!(asked.most.is_some(), all.iter().any(|raw| *raw != "null"), "{text}");
        for plain in all.iter().filter_map(|raw| raw.parse::<u32>().ok()) {
            assert!(asked.most >= Some(plain.into()), "{plain} was not seen: {text}");
        }
        let last = asked.last.as_ref().and_then(|last| last.value);
        assert!(last <= asked.most, "{text}");
    }
    for list in List::ALL {
        let counts: Option<Vec<_>> = members.all(list.name()).iter().map(|raw| prompts(list, raw)).collect();
        let Some(counts) = counts else { continue };
        let count = counts.into_iter().max().unwrap_or_default();
        assert_eq!(peeked.cost.listed(list), count, "{list:?}: {text}");
    }
}

/// How many prompts a whole parser finds in such a member. Nothing, where it cannot read a key in it, which may be half of
/// a surrogate pair.
fn prompts(list: List, raw: &str) -> Option<usize> {
    let count = |raw: &str| {
        let items = serde_json::from_str::<Vec<&RawValue>>(raw).unwrap_or_default();
        items.iter().filter(|item| item.get().bytes().next().is_some_and(|first| list.counts(first))).count()
    };
    Some(match raw.bytes().next() {
        Some(b'"') => 1,
        Some(b'[') => count(raw),
        Some(b'{') => {
            let inner = Members::of(raw.as_bytes())?;
            let lists = inner.without(&[]);
            let lists = lists.iter().map(|(_, raw)| if raw.starts_with('[') { count(raw) } else { 0 });
            lists.sum::<usize>().max(1)
        }
        _ => 0,
    })
}

/// What the plain spellings of a flag say.
fn plain(raw: Option<&str>) -> Option<bool> {
    match raw {
        Some("true") => Some(true),
        None | Some("false" | "null") => Some(false),
        Some(_) => None,
    }
}

/// Asserts that an error stands inside of the body, and is one line of text.
fn assert_place(error: PeekError, length: usize) {
    match error {
        PeekError::NotAnObject { at }
        | PeekError::Malformed { at, .. }
        | PeekError::NotUtf8 { at }
        | PeekError::TooDeep { at } => assert!(at < length, "{error}"),
        PeekError::Unfinished { at } | PeekError::DuplicateModel { at } => assert!(at <= length, "{error}"),
        _ => {}
    }
    assert!(!error.to_string().contains('\n') && usize::from(MAX_DEPTH) <= 64);
}
