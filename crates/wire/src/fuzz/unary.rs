//! Answers of any bytes: the same usage wherever they are cut, and the one that a whole parser finds.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{CUT, pieces, shown};
use crate::unary::{BodyReader, usage_of_metadata};
use crate::usage::Usage;

/// Three bytes say where the answer is cut; the rest is the answer.
pub fn unary(data: &[u8]) {
    let Some((cut, body)) = data.split_first_chunk::<CUT>() else { return };
    let whole = read([body]);
    assert_eq!(read(pieces(body, *cut)), whole, "cut as {cut:?}");
    assert_eq!(usage_of_metadata(body), whole);

    // A key that is spelled with escapes is not looked for; no vLLM writes one.
    if memchr::memchr(b'\\', body).is_some() || body.trim_ascii_start().first() != Some(&b'{') {
        return;
    }
    if let Ok(Answer { usage }) = serde_json::from_slice(body) {
        let cut = &body[..body.trim_ascii_end().len() - 1];
        assert!(whole.is_none() || read([cut]).is_none(), "a part of an answer has usage: {}", shown(cut));
        let raw = usage.map(RawValue::get).filter(|raw| raw.len() <= 4096);
        if usage.is_none() || raw.is_some() {
            assert_eq!(whole, raw.and_then(|raw| Usage::read(raw.as_bytes())), "{}", shown(body));
        }
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<Usage> {
    let mut reader = BodyReader::new();
    pieces.into_iter().for_each(|piece| reader.push(piece));
    reader.usage()
}
