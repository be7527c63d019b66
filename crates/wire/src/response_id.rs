//! The id of a response, as `/v1/responses` tells it: read from the beginning of an answer, in whatever pieces that comes.
//!
//! vLLM writes the id first: `{"id":"resp_…"` in a whole answer, `data: {"response":{"id":"resp_…"` in the first event of
//! a stream. Only there is it believed: further on an answer repeats what a client wrote, and `metadata` may hold any
//! `"id"`. Nothing is kept of the answer but the id itself, so no length of anything has to be bounded.

use memchr::memchr2;

/// The longest id that is one. vLLM's own have 21 characters.
pub const LONGEST: usize = 256;

/// Whether this may be the id of a response: it is safe in the path of a request, as it stands.
pub fn is_id(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_of_id)
}

fn is_of_id(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// What stands before the id, piece by piece; between pieces there may be white space.
type Way = &'static [&'static [u8]];

const WHOLE: Way = &[b"{", b"\"id\"", b":", b"\""];
const STREAM: Way = &[b"{", b"\"response\"", b":", b"{", b"\"id\"", b":", b"\""];

/// Reads the id of one answer, chunk by chunk.
#[derive(Debug)]
pub struct IdReader {
    way: Way,
    state: State,
    id: String,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In a line of a stream, which begins like `data:` for so many bytes.
    Line(usize),
    /// In a line of a stream that is no data.
    Comment,
    /// On the way to the id: in this piece of it, behind so many of its bytes.
    Way(usize, usize),
    Id,
    /// The id was found, or there is none.
    Done,
}

/// What begins the lines of a stream that matter.
const DATA: &[u8] = b"data:";

impl IdReader {
    /// For an answer in one piece.
    pub fn whole() -> Self {
        Self { way: WHOLE, state: State::Way(0, 0), id: String::new() }
    }

    /// For a stream of events.
    pub fn stream() -> Self {
        Self { way: STREAM, state: State::Line(0), id: String::new() }
    }

    /// Reads the next chunk, and gives the id once it is whole.
    pub fn push(&mut self, chunk: &[u8]) -> Option<String> {
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            at += 1;
            self.state = match self.state {
                State::Done => return None,
                State::Comment => {
                    let rest = chunk.get(at - 1..).unwrap_or_default();
                    at += memchr2(b'\n', b'\r', rest)?;
                    State::Line(0)
                }
                State::Line(matched) => in_line(matched, byte),
                State::Way(piece, matched) => self.on_the_way(piece, matched, byte),
                State::Id if byte == b'"' => {
                    self.state = State::Done;
                    return Some(std::mem::take(&mut self.id)).filter(|id| is_id(id));
                }
                State::Id if is_of_id(byte) && self.id.len() < LONGEST => {
                    self.id.push(char::from(byte));
                    State::Id
                }
                State::Id => State::Done,
            };
        }
        None
    }

    /// Whether there is nothing more to be read.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn on_the_way(&self, piece: usize, at: usize, byte: u8) -> State {
        let Some(wanted) = self.way.get(piece) else { return State::Done };
        // The end of a line ends an event's data, where it would be white space in JSON.
        let is_space =
            matches!(byte, b' ' | b'\t') || matches!(byte, b'\n' | b'\r') && self.way.len() == WHOLE.len();
        match wanted.get(at) {
            Some(next) if *next == byte && at + 1 < wanted.len() => State::Way(piece, at + 1),
            Some(next) if *next == byte && piece + 1 < self.way.len() => State::Way(piece + 1, 0),
            Some(next) if *next == byte => State::Id,
            _ if at == 0 && is_space => State::Way(piece, 0),
            _ => State::Done,
        }
    }
}

/// A line of a stream goes on with this byte, after so many that are those of `data:`.
fn in_line(matched: usize, byte: u8) -> State {
    match byte {
        b'\n' | b'\r' => State::Line(0),
        _ if DATA.get(matched) != Some(&byte) => State::Comment,
        _ if matched + 1 == DATA.len() => State::Way(0, 0),
        _ => State::Line(matched + 1),
    }
}
