//! One event, taken apart into what is known of it.

use std::borrow::Cow;

use memchr::memchr;

/// What a complete event (or the unfinished last one) says.
pub(super) struct Event<'a> {
    /// Its `event:` line.
    pub(super) name: Option<&'a [u8]>,
    /// Its data; several lines of it are joined.
    pub(super) data: Cow<'a, [u8]>,
    /// Whether it is exactly `data: …` and two line feeds, as vLLM writes events: only then is it ever changed.
    pub(super) plain: bool,
}

/// Where the data of a plain event begins.
pub(super) const DATA_AT: usize = b"data: ".len();

impl<'a> Event<'a> {
    pub(super) fn parse(event: &'a [u8]) -> Self {
        if let Some(data) = plain_data(event) {
            return Self { name: None, data: Cow::Borrowed(data), plain: true };
        }
        let event = event.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(event);
        let (mut name, mut data) = (None, None::<Cow<'a, [u8]>>);
        for line in event.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
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
        Self { name, data: data.unwrap_or_default(), plain: false }
    }
}

fn plain_data(event: &[u8]) -> Option<&[u8]> {
    let data = event.strip_prefix(b"data: ")?.strip_suffix(b"\n\n")?;
    (memchr(b'\n', data).is_none() && !data.ends_with(b"\r")).then_some(data)
}

/// Whether these bytes, which stand between two events, are a comment or an empty line.
pub(super) fn is_filler(bytes: &[u8]) -> bool {
    bytes.starts_with(b":") || bytes == b"\n" || bytes == b"\r\n"
}
