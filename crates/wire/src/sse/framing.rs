//! Finds where events end, in chunks cut anywhere.

use memchr::memchr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two events.
    Start,
    /// Between two events, after a carriage return.
    StartCr,
    /// In a comment between two events.
    Comment,
    /// In a line of an event.
    Line,
    /// After a line of an event.
    LineEnd,
    /// After a line of an event and a carriage return.
    LineEndCr,
}

/// Where in an event the stream stands. Each byte is looked at once, however long an event is in coming.
#[derive(Debug)]
pub(super) struct Framing(State);

impl Framing {
    pub(super) fn new() -> Self {
        Self(State::Start)
    }

    /// The length of what ends in these bytes, if it does: an event with its blank line, or, between two
    /// events, a comment or an empty line.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let byte = *bytes.get(at)?;
            let next = match (self.0, byte) {
                (State::Start | State::StartCr | State::LineEnd | State::LineEndCr, b'\n') => {
                    self.0 = State::Start;
                    return Some(at + 1);
                }
                (State::Start, b'\r') => State::StartCr,
                (State::Start, b':') => State::Comment,
                (State::LineEnd, b'\r') => State::LineEndCr,
                (State::Comment | State::Line, _) => {
                    at += memchr(b'\n', &bytes[at..])?;
                    if self.0 == State::Comment {
                        self.0 = State::Start;
                        return Some(at + 1);
                    }
                    State::LineEnd
                }
                _ => State::Line,
            };
            self.0 = next;
            at += 1;
        }
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

    #[test]
    fn events_comments_and_empty_lines_end_where_they_should_however_they_are_cut() {
        let parts: [&[u8]; 9] = [
            b"data: a\n\n",
            b": keep-alive\n",
            b"\n",
            b"event: x\ndata: b\n\n",
            b"data: c\r\n\r\n",
            b"\r\n",
            b"data: d\ndata: e\r\n: inside\n\n",
            b"\rdata: odd\n\n",
            b"data: unfinished\n",
        ];
        let stream = parts.concat();
        for size in 1..=stream.len() {
            assert_eq!(pieces(&stream, size), parts, "chunks of {size}");
        }
    }
}
