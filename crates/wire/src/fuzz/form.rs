//! Forms of any bytes: the same wherever they are cut, and an edited one says what was asked and nothing else.

use super::{CUT, assert_shared, pieces, segments, shown};
use crate::multipart::{Form, FormReader, MultipartError, ask_for_usage, rename_model};
use crate::peek::FieldValue;

const NAME: &str = "openai/whisper-tiny";

/// One byte is the length of the Content-Type, three say where the body is cut; then these two.
pub fn form(data: &[u8]) {
    let Some(([length, cut @ ..], rest)) = data.split_first_chunk::<{ 1 + CUT }>() else { return };
    let Some((kind, body)) = rest.split_at_checked(usize::from(*length)) else { return };
    let Ok(kind) = std::str::from_utf8(kind) else { return };
    let whole = read(kind, [body]);
    assert_eq!(read(kind, pieces(body, *cut)), whole, "cut as {cut:?}");
    let Ok(before) = whole else { return };
    assert_eq!(before.body_len, body.len());
    let dashes = format!("--{}--", before.boundary);
    assert!(body[before.close..].starts_with(dashes.as_bytes()), "{}", shown(body));
    if let Some(field) = &before.model {
        let value = match &field.value {
            FieldValue::Text(text) => text.as_bytes(),
            _ => b"",
        };
        assert_eq!(&body[field.range.clone()], value, "{}", shown(body));
    }

    let given = segments(body, *cut);
    let rename = rename_model(&before, NAME).expect("the name has no control character");
    let ask = ask_for_usage(&before);
    let edited = rename.clone().and(ask.clone()).apply(&given);
    assert_shared(&given, &edited, 4 * (before.boundary.len() + 128));
    let edited = edited.concat();
    let after = read(kind, [edited.as_slice()])
        .unwrap_or_else(|error| panic!("no form any more ({error}): {}", shown(&edited)));
    assert_eq!((after.model_name(), after.stream), (Some(NAME), before.stream), "{}", shown(&edited));
    if !ask.is_empty() {
        assert!(after.wants_usage() && after.wants_running_usage(), "{}", shown(&edited));
        assert!(ask_for_usage(&after).is_empty(), "asked for twice");
    }
    assert!((before.parts..=before.parts + 3).contains(&after.parts));
    if rename.is_empty() && ask.is_empty() {
        assert_eq!(edited, body);
    }
}

fn read<'a>(kind: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Form, MultipartError> {
    let mut reader = FormReader::new(kind)?;
    pieces.into_iter().try_for_each(|piece| reader.feed(piece))?;
    reader.finish()
}
