//! One event, taken apart into what is known of it.

use std::borrow::Cow;

use memchr::memchr2;

/// What a complete event (or the unfinished last one) says.
pub(super) struct Event<'a> {
    /// Its `event:` line.
    pub(super) name: Option<&'a [u8]>,
    /// Its data; several lines of it are joined.
    pub(super) data: Cow<'a, [u8]>,
    /// How long the two line ends behind its data are, if it is nothing else than `data: …` and these, as vLLM
    /// writes events: only then is it ever changed.
    pub(super) tail: Option<usize>,
}

/// Where the data of a plain event begins.
pub(super) const DATA_AT: usize = b"data: ".len();

impl<'a> Event<'a> {
    pub(super) fn parse(event: &'a [u8]) -> Self {
        if let Some(data) = plain_data(event) {
            let tail = event.len() - DATA_AT - data.len();
            return Self { name: None, data: Cow::Borrowed(data), tail: Some(tail) };
        }
        let event = event.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(event);
        let (mut name, mut data) = (None, None::<Cow<'a, [u8]>>);
        // Between the two bytes of one line end lies an empty line, which says nothing.
        for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
            if let Some(value) = line.strip_prefix(b"event:") {
                name = Some(value.strip_prefix(b" ").unwrap_or(value));
            } else if let Some(value) = line.strip_prefix(b"data:") {
                let value = value.strip_prefix(b" ").unwrap_or(value);
                match &mut data {
                    None => data = Some(Cow::Borrowed(value)),
                    Some(lines) => {
                        let lines = lines.to_mut();
                        lines.push(b'\n');
                        lines.extend_from_slice(value);
                    }
                }
            }
        }
        Self { name, data: data.unwrap_or_default(), tail: None }
    }
}

fn plain_data(event: &[u8]) -> Option<&[u8]> {
    let data = without_line_end(without_line_end(event.strip_prefix(b"data: ")?)?)?;
    memchr2(b'\n', b'\r', data).is_none().then_some(data)
}

/// A line may end in each of three ways, whatever the one before it did.
fn without_line_end(bytes: &[u8]) -> Option<&[u8]> {
    [b"\r\n".as_slice(), b"\n", b"\r"].into_iter().find_map(|end| bytes.strip_suffix(end))
}

/// Whether these bytes, which stand between two events, are a comment or an empty line.
pub(super) fn is_filler(bytes: &[u8]) -> bool {
    bytes.starts_with(b":") || matches!(bytes, b"\n" | b"\r\n" | b"\r")
}
