//! Finds where events end, in chunks cut anywhere.
//!
//! A line ends with a line feed, with a carriage return, or with both. Whether a line feed follows shows with the
//! next byte only; where it matters, that byte is waited for, unless the stream has shown that its lines end with
//! a carriage return alone: there every event would have to wait for the next one.

use memchr::memchr2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two events.
    Start,
    /// Between two events, after a carriage return that ends an empty line or a comment.
    StartCr,
    /// In a comment between two events.
    Comment,
    /// In a line of an event.
    Line,
    /// After a line of an event and a carriage return.
    LineCr,
    /// After a line of an event and all of its end.
    LineEnd,
    /// After a line of an event, its end, and a carriage return.
    LineEndCr,
}

/// Where in an event the stream stands. Each byte is looked at once, however long an event is in coming.
#[derive(Debug)]
pub(super) struct Framing {
    state: State,
    /// Whether the last carriage return that was followed by anything stood alone.
    alone: bool,
}

impl Framing {
    pub(super) fn new() -> Self {
        Self { state: State::Start, alone: false }
    }

    /// The length of what ends in these bytes, if it does: an event with its blank line, or, between two
    /// events, a comment or an empty line. It is 0 where the first byte shows that something had ended before.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            if matches!(self.state, State::Comment | State::Line) {
                at += memchr2(b'\n', b'\r', bytes.get(at..)?)?;
            }
            let byte = *bytes.get(at)?;
            if matches!(self.state, State::StartCr | State::LineCr | State::LineEndCr) {
                self.alone = byte != b'\n';
            }
            self.state = match (self.state, byte) {
                (
                    State::Start | State::StartCr | State::Comment | State::LineEnd | State::LineEndCr,
                    b'\n',
                ) => {
                    return Some(self.ended(at + 1));
                }
                (State::Start | State::Comment | State::LineEnd, b'\r') if self.alone => {
                    return Some(self.ended(at + 1));
                }
                (State::LineCr, b'\r') => return Some(self.ended(at + 1)),
                (State::StartCr | State::LineEndCr, _) => return Some(self.ended(at)),
                (State::Start | State::Comment, b'\r') => State::StartCr,
                (State::Start, b':') => State::Comment,
                (State::Line, b'\r') => State::LineCr,
                (State::Line | State::LineCr, b'\n') => State::LineEnd,
                (State::LineEnd, b'\r') => State::LineEndCr,
                (State::Start | State::Comment | State::Line | State::LineCr | State::LineEnd, _) => {
                    State::Line
                }
            };
            at += 1;
        }
    }

    /// Whether all that came belongs to events that have ended.
    pub(super) fn is_between(&self) -> bool {
        self.state == State::Start
    }

    fn ended(&mut self, at: usize) -> usize {
        self.state = State::Start;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(stream: &[u8], size: usize) -> Vec<Vec<u8>> {
        let (mut framing, mut pieces, mut piece) = (Framing::new(), Vec::new(), Vec::new());
        for chunk in stream.chunks(size) {
            let mut rest = chunk;
            while let Some(end) = framing.end(rest) {
                piece.extend_from_slice(&rest[..end]);
                pieces.push(std::mem::take(&mut piece));
                rest = &rest[end..];
            }
            piece.extend_from_slice(rest);
        }
        if !piece.is_empty() {
            pieces.push(piece);
        }
        pieces
    }

    /// Asserts that these parts, put together and cut in any way, come apart again.
    fn assert_parts(parts: &[&[u8]]) {
        let stream = parts.concat();
        for size in 1..=stream.len() {
            assert_eq!(pieces(&stream, size), parts, "chunks of {size}");
        }
    }

    #[test]
    fn events_comments_and_empty_lines_end_where_they_should_however_they_are_cut() {
        assert_parts(&[
            b"data: a\n\n",
            b": keep-alive\n",
            b"\n",
            b"event: x\ndata: b\n\n",
            b"data: c\r\n\r\n",
            b": keep-alive\r\n",
            b"\r\n",
            b"data: d\ndata: e\r\n: inside\n\n",
            b"\r",
            b"data: after a lone return\n\n",
            b"data: unfinished\n",
        ]);
    }

    #[test]
    fn lines_may_end_with_a_carriage_return_alone() {
        assert_parts(&[
            b"data: a\r\r",
            b": keep-alive\r",
            b"\r",
            b"event: x\rdata: b\r\r",
            b"data: c\n\r",
            b"data: d\r\n\r\n",
            b": keep-alive\r\n",
            b"data: unfinished\r",
        ]);
    }

    #[test]
    fn an_event_ends_with_its_last_byte_however_its_lines_end() {
        for event in ["data: a\n\n", "data: a\r\n\r\n", "data: a\r\r"] {
            let (stream, mut framing) = (event.repeat(3), Framing::new());
            for (at, byte) in stream.bytes().enumerate() {
                let is_last = (at + 1) % event.len() == 0;
                assert_eq!(framing.end(&[byte]), is_last.then_some(1), "{event:?} at {at}");
            }
        }
    }
}
