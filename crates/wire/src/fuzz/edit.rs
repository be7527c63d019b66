//! Edits of any body: what is asked for is there afterwards, and all else is as it was, in the same memory.

use bytes::Bytes;

use super::{CUT, assert_shared, json::Members, peek::read, segments, shown};
use crate::edit::{Edits, ask_for_usage, rename_model, set_amount};
use crate::peek::{Amount, Peeked};

const NAMES: [&str; 4] = ["Qwen3-32B", "a\"b\\c\u{1}é", "", "/models/qwen"];

/// One byte chooses the new name, three say where the body is cut; the rest is the body.
pub fn edit(data: &[u8]) {
    let Some(([name, cut @ ..], body)) = data.split_first_chunk::<{ 1 + CUT }>() else { return };
    let name = NAMES[usize::from(*name) % NAMES.len()];
    let Ok(before) = read([body]) else { return };
    let given = segments(body, *cut);
    let apply = |edits: &Edits| {
        let edited = edits.apply(&given);
        assert_shared(&given, &edited, name.len() * 6 + 128);
        edited.concat()
    };

    let rename = rename_model(&before, name);
    let renamed = apply(&rename);
    let place = before.model.as_ref().map_or(before.close..before.close, |field| field.range.clone());
    assert_outside(body, &renamed, place.start, place.end, rename.is_empty());
    let after = read_back(&renamed);
    assert_eq!(after.model_name(), Some(name).filter(|name| !name.is_empty()), "{}", shown(&renamed));

    let ask = ask_for_usage(&before);
    let asked = apply(&ask);
    assert_asked(&before, &read_back(&asked), ask.is_empty());

    let amount = Amount::ALL[usize::from(cut[0]) % Amount::ALL.len()];
    let set = set_amount(&before, amount, 4096);
    let set_alone = apply(&set);
    let place = &before.cost.amount(amount).last;
    let place = place.as_ref().map_or(before.close..before.close, |last| last.range.clone());
    assert_outside(body, &set_alone, place.start, place.end, set.is_empty());
    let after = read_back(&set_alone);
    let asked = after.cost.amount(amount).last.as_ref().and_then(|last| last.value);
    assert_eq!(asked, before.has_members.then_some(4096), "{}", shown(&set_alone));

    let both = apply(&rename.clone().and(ask.clone()));
    for both in [both, apply(&ask.and(rename))] {
        let after = read_back(&both);
        assert_eq!(after.model_name(), Some(name).filter(|name| !name.is_empty()));
        assert_asked(&before, &after, false);
        // A name in the place of `NaN` makes a body readable to others.
        if let Some(others_before) = others(body) {
            assert_eq!(others(&both), Some(others_before), "{}", shown(&both));
        }
    }
    assert_eq!(Edits::none().apply(&given).concat(), body);
}

fn read_back(edited: &[u8]) -> Peeked {
    read([edited]).unwrap_or_else(|error| panic!("no JSON any more ({error}): {}", shown(edited)))
}

/// Asserts that nothing but one place was changed, and nothing at all if there was no edit.
fn assert_outside(body: &[u8], edited: &[u8], start: usize, end: usize, unchanged: bool) {
    assert!(!unchanged || edited == body, "{}", shown(edited));
    assert!(edited.starts_with(&body[..start]) && edited.ends_with(&body[end..]), "{}", shown(edited));
}

fn assert_asked(before: &Peeked, after: &Peeked, unasked: bool) {
    assert_eq!((after.stream, after.n, after.choices), (before.stream, before.n, before.choices));
    if !unasked && !ask_for_usage(before).is_empty() {
        assert!(after.stream && after.wants_usage() && after.wants_running_usage());
        assert!(ask_for_usage(after).is_empty(), "asked for twice");
    }
}

/// The members that no edit may touch, where another parser can read them.
fn others(body: &[u8]) -> Option<Vec<(String, Bytes)>> {
    let members = Members::of(body)?;
    let others = members.without(&["model", "stream_options"]).into_iter();
    Some(others.map(|(name, raw)| (name.to_owned(), Bytes::copy_from_slice(raw.as_bytes()))).collect())
}
