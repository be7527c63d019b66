//! Answers of any bytes: the same id wherever they are cut, and none but the one that a whole parser finds first.

use serde_json::Value;

use super::{CUT, pieces, shown};
use crate::response_id::{IdReader, is_id};

/// Three bytes say where the answer is cut, one whether it is a stream; the rest is the answer.
pub fn response_id(data: &[u8]) {
    let Some(([streams, cut @ ..], answer)) = data.split_first_chunk::<{ 1 + CUT }>() else { return };
    let streams = streams % 2 == 1;
    let id = read(streams, [answer]);
    assert_eq!(read(streams, pieces(answer, *cut)), id, "cut as {cut:?}");
    let Some(id) = id else { return };
    assert!(is_id(&id), "{id}");
    if !streams && let Ok(Value::Object(answer)) = serde_json::from_slice(answer) {
        // Of two the last counts there; that of vLLM's answers is the only one.
        assert!(answer.contains_key("id"), "{answer:?}");
    }
    let name = if streams { "\"response\"" } else { "\"id\"" };
    assert!(memchr::memmem::find(answer, name.as_bytes()).is_some(), "{}", shown(answer));
}

fn read<'a>(streams: bool, pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<String> {
    let mut reader = if streams { IdReader::stream() } else { IdReader::whole() };
    let found: Vec<_> = pieces.into_iter().filter_map(|piece| reader.push(piece)).collect();
    assert!(found.is_empty() || reader.is_done());
    assert!(found.len() <= 1, "{found:?}");
    found.into_iter().next()
}
