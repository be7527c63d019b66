//! Changes a body by splicing: what is not replaced stays the very same bytes, shared and not copied.

use std::ops::Range;

use bytes::Bytes;

use crate::peek::{Amount, FieldValue, Flag, Lax, OptionsObject, Peeked, StreamOptions};

/// One replacement; an empty range inserts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edit {
    range: Range<usize>,
    with: Bytes,
}

/// Replacements in one body, in the order of their places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits(Vec<Edit>);

impl Edits {
    /// No change.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replaces these bytes. Of two replacements that overlap, the one that stands earlier in the body counts.
    #[must_use]
    pub fn replace(mut self, range: Range<usize>, with: impl Into<Bytes>) -> Self {
        let place = self.0.partition_point(|edit| edit.range.start <= range.start);
        self.0.insert(place, Edit { range, with: with.into() });
        self
    }

    /// Inserts before this byte; several insertions at one place keep the order in which they were asked for.
    #[must_use]
    pub fn insert(self, at: usize, with: impl Into<Bytes>) -> Self {
        self.replace(at..at, with)
    }

    /// These changes and those of `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        other.0.into_iter().fold(self, |edits, edit| edits.replace(edit.range, edit.with))
    }

    /// The body with the changes made, as segments that share the memory of the given ones.
    pub fn apply(&self, body: &[Bytes]) -> Vec<Bytes> {
        let mut spliced = Vec::with_capacity(body.len() + 2 * self.0.len());
        let mut reached = 0;
        for edit in self.0.iter().filter(|edit| edit.range.start <= edit.range.end) {
            if edit.range.start < reached {
                continue;
            }
            copy_range(body, reached..edit.range.start, &mut spliced);
            if !edit.with.is_empty() {
                spliced.push(edit.with.clone());
            }
            reached = edit.range.end;
        }
        copy_range(body, reached..usize::MAX, &mut spliced);
        spliced
    }
}

/// Pushes slices of the segments that make up this range of the body.
fn copy_range(body: &[Bytes], range: Range<usize>, out: &mut Vec<Bytes>) {
    let mut start = 0;
    for segment in body {
        let end = start + segment.len();
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            out.push(segment.slice(from - start..to - start));
        }
        start = end;
    }
}

/// Makes vLLM report its usage in every event of the stream and at its end.
///
/// Changes nothing where the request does not stream, and nothing where `stream_options` holds what vLLM
/// refuses: then it must still be refused.
pub fn ask_for_usage(peeked: &Peeked) -> Edits {
    const BOTH: &[u8] = br#"{"include_usage":true,"continuous_usage_stats":true}"#;
    if !peeked.stream {
        return Edits::none();
    }
    match &peeked.stream_options {
        StreamOptions::Absent => {
            let member = br#","stream_options":{"include_usage":true,"continuous_usage_stats":true}"#;
            Edits::none().insert(peeked.close, Bytes::from_static(member))
        }
        StreamOptions::Null(range) => Edits::none().replace(range.clone(), Bytes::from_static(BOTH)),
        StreamOptions::Object(options) => complete(options),
        StreamOptions::Other(_) => Edits::none(),
    }
}

fn complete(options: &OptionsObject) -> Edits {
    let flags = [&options.include_usage, &options.continuous_usage_stats];
    if flags.iter().any(|flag| flag.as_ref().is_some_and(|flag| flag.value == Lax::Invalid)) {
        return Edits::none();
    }
    let missing: &'static [u8] = match (flags, options.has_members) {
        ([None, None], false) => br#""include_usage":true,"continuous_usage_stats":true"#,
        ([None, None], true) => br#","include_usage":true,"continuous_usage_stats":true"#,
        ([None, Some(_)], _) => br#","include_usage":true"#,
        ([Some(_), None], _) => br#","continuous_usage_stats":true"#,
        ([Some(_), Some(_)], _) => b"",
    };
    let edits = flags.into_iter().flatten().fold(Edits::none(), turn_on);
    if missing.is_empty() {
        return edits;
    }
    edits.insert(options.range.end - 1, Bytes::from_static(missing))
}

/// Sets a flag that is there; one that is true already keeps its spelling.
pub(crate) fn turn_on(edits: Edits, flag: &Flag) -> Edits {
    if flag.value.is_true() {
        return edits;
    }
    edits.replace(flag.range.clone(), Bytes::from_static(b"true"))
}

/// Makes the body name this model, whether it named another, none, or something that is no name.
pub fn rename_model(peeked: &Peeked, new: &str) -> Edits {
    let quoted = serde_json::Value::from(new).to_string();
    match &peeked.model {
        Some(field) if matches!(&field.value, FieldValue::Text(old) if old == new) => Edits::none(),
        Some(field) => Edits::none().replace(field.range.clone(), quoted),
        None if peeked.has_members => Edits::none().insert(peeked.close, format!(",\"model\":{quoted}")),
        None => Edits::none().insert(peeked.close, format!("\"model\":{quoted}")),
    }
}

/// Makes the body ask for this amount, whatever it asks for now. A body without any member stays without: there is
/// nothing in it that could be served.
pub fn set_amount(peeked: &Peeked, amount: Amount, value: u32) -> Edits {
    match &peeked.cost.amount(amount).last {
        Some(last) if last.value == Some(value.into()) => Edits::none(),
        Some(last) => Edits::none().replace(last.range.clone(), value.to_string()),
        None if peeked.has_members => {
            Edits::none().insert(peeked.close, format!(",\"{}\":{value}", amount.name()))
        }
        None => Edits::none(),
    }
}
