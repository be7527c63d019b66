//! Whole events for filters that ask for them, read from a copy beside the stream.
//!
//! `eventsource-stream` panics on a byte-order mark, goes silent after bad UTF-8 and is quadratic on large
//! events. So it is given one complete event of bounded size at a time, and what it says never delays a byte.

use bytes::{Bytes, BytesMut};
use eventsource_stream::{Event as Parsed, Eventsource};
use futures_util::{FutureExt, StreamExt, stream};

/// An event larger than this is not read.
const LIMIT: usize = 256 * 1024;

/// One server-sent event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its `event:` line; `message` without one.
    pub name: String,
    /// Its `data:` lines, joined.
    pub data: String,
}

/// Cuts a stream into events.
#[derive(Default)]
pub(crate) struct EventReader {
    held: BytesMut,
    skipping: bool,
}

impl EventReader {
    /// The events that this chunk completes.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        self.held.extend_from_slice(chunk);
        while let Some(end) = end_of_event(&self.held) {
            let raw = self.held.split_to(end).freeze();
            if !std::mem::take(&mut self.skipping) {
                events.extend(parse(&raw));
            }
        }
        if self.held.len() > LIMIT {
            // Keeps what may be the first half of the blank line that ends it.
            self.held = self.held.split_off(self.held.len() - 3);
            self.skipping = true;
        }
        events
    }
}

/// Where the first event ends, its blank line included.
fn end_of_event(bytes: &[u8]) -> Option<usize> {
    let line_feeds = memchr_pair(bytes, b"\n\n").map(|at| at + 2);
    let crlf = memchr_pair(bytes, b"\r\n\r\n").map(|at| at + 4);
    match (line_feeds, crlf) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn memchr_pair(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

fn parse(raw: &Bytes) -> Option<Event> {
    let raw = raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw);
    let text = std::str::from_utf8(raw).ok()?;
    let whole = stream::iter([Ok::<_, std::convert::Infallible>(text.as_bytes())]);
    let Parsed { event, data, .. } = whole.eventsource().next().now_or_never()??.ok()?;
    Some(Event { name: event, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.into(), data: data.into() }
    }

    #[test]
    fn events_come_whole_wherever_the_stream_is_cut() {
        let text =
            "data: {\"a\":\"ä\"}\n\n: keep-alive\n\nevent: x\ndata: 1\ndata: 2\n\ndata: [DONE]\r\n\r\n"
                .as_bytes();
        let expected = [event("message", "{\"a\":\"ä\"}"), event("x", "1\n2"), event("message", "[DONE]")];
        for cut in 0..text.len() {
            let mut reader = EventReader::default();
            let mut events = reader.push(&text[..cut]);
            events.extend(reader.push(&text[cut..]));
            assert_eq!(events, expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_byte_order_mark_bad_utf8_and_a_huge_event_do_no_harm() {
        let mut reader = EventReader::default();
        assert_eq!(reader.push(b"\xef\xbb\xbfdata: 1\n\n"), [event("message", "1")]);
        assert_eq!(reader.push(b"data: \xff\n\n"), []);
        assert_eq!(reader.push(&vec![b'x'; LIMIT + 1]), []);
        assert_eq!(reader.push(b"\n\ndata: 2\n\n"), [event("message", "2")]);
    }
}
