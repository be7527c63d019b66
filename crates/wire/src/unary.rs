//! Follows a JSON answer that is not streamed and finds its top-level `usage`, holding nothing else of it.
//!
//! Until the word `"usage"` comes by, the bytes are only searched. From there on brackets are counted, and at
//! the end of the answer the count says how deep that object stood: only a top-level one is believed.

use std::sync::LazyLock;

use memchr::memchr2;
use memchr::memmem::Finder;

use crate::usage::Usage;

/// The longest usage object that is read.
const MAX_OBJECT: usize = 4096;

const NEEDLE: &[u8] = b"\"usage\"";

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(NEEDLE));

/// The last bytes that went by: enough for a needle cut in two and the byte before it.
const CARRY: usize = NEEDLE.len();

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing yet that looks like the key.
    Search,
    /// Outside of strings.
    Between,
    /// In a string; so many of its bytes equal those of `usage`, or more than that if they do not.
    Text(u8),
    /// Just after a backslash in a string.
    Escape,
    /// After the string `"usage"`: a colon makes it a key.
    Word,
    /// After `"usage":`
    Colon,
}

/// In a string that cannot be the key.
const OTHER: u8 = u8::MAX;

/// Reads one JSON answer, chunk by chunk.
#[derive(Debug)]
pub struct BodyReader {
    state: State,
    carry: [u8; CARRY],
    carry_len: usize,
    /// Brackets opened less brackets closed since the first `"usage"`.
    level: i64,
    /// The level at which the candidate stands; only the one nearest to the top can be right.
    candidate: Option<i64>,
    /// Set while the candidate's own bytes go by.
    taking: bool,
    object: Vec<u8>,
}

impl Default for BodyReader {
    fn default() -> Self {
        Self::new()
    }
}

impl BodyReader {
    /// A reader at the start of an answer.
    pub fn new() -> Self {
        Self {
            state: State::Search,
            carry: [0; CARRY],
            carry_len: 0,
            level: 0,
            candidate: None,
            taking: false,
            object: Vec::new(),
        }
    }

    /// Looks at the next chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.state != State::Search {
            return self.track(chunk);
        }
        match self.search(chunk) {
            Some(end) => {
                self.state = State::Word;
                self.track(&chunk[end..]);
            }
            None => self.carry_over(chunk),
        }
    }

    /// The usage of the answer, once all of it was pushed. `None` if it has none, or did not come whole.
    ///
    /// An answer that has usage in a member only, as none of vLLM's does, and lacks nothing but as many brackets at its
    /// end as that lies deep, is taken for a whole one: how deep the first `"usage"` stood, nobody has counted.
    pub fn usage(&self) -> Option<Usage> {
        let whole = self.state == State::Between && self.candidate.is_some_and(|at| self.level == at - 1);
        if whole && !self.taking && self.object.len() <= MAX_OBJECT {
            Usage::read(&self.object)
        } else {
            None
        }
    }

    /// Where in the chunk to go on after the first `"usage"`.
    fn search(&self, chunk: &[u8]) -> Option<usize> {
        let (held, head) = (self.carry_len, chunk.len().min(CARRY));
        let mut seam = [0; 2 * CARRY];
        seam[..held].copy_from_slice(&self.carry[..held]);
        seam[held..held + head].copy_from_slice(&chunk[..head]);
        let seam = &seam[..held + head];
        // What ends in the bytes before has been judged.
        if let Some(end) = find(seam, None, (held + 1).saturating_sub(NEEDLE.len())) {
            return Some(end - held);
        }
        find(chunk, self.carry[..held].last().copied(), 0)
    }

    fn carry_over(&mut self, chunk: &[u8]) {
        if chunk.len() >= CARRY {
            self.carry.copy_from_slice(&chunk[chunk.len() - CARRY..]);
            self.carry_len = CARRY;
            return;
        }
        let drop = (self.carry_len + chunk.len()).saturating_sub(CARRY);
        self.carry.copy_within(drop..self.carry_len, 0);
        self.carry_len -= drop;
        self.carry[self.carry_len..self.carry_len + chunk.len()].copy_from_slice(chunk);
        self.carry_len += chunk.len();
    }

    fn track(&mut self, chunk: &[u8]) {
        let mut at = 0;
        // Where in the chunk the candidate's bytes begin that are not kept yet.
        let mut begin = 0;
        while let Some(&byte) = chunk.get(at) {
            let (from, taking) = (at, self.taking);
            at += 1;
            match self.state {
                State::Text(OTHER) => at = self.skip_text(chunk, from),
                // Most often all of it is there.
                State::Text(0) if byte != b'"' => at = self.read_text(chunk, from),
                // A number, or a word: nothing in it matters.
                State::Between if is_plain(byte) => {
                    at += chunk[at..].iter().take_while(|byte| is_plain(**byte)).count();
                }
                State::Text(matched) => {
                    self.state = match byte {
                        b'"' if matched == 5 => State::Word,
                        b'"' => State::Between,
                        b'\\' => State::Escape,
                        _ if b"usage".get(usize::from(matched)) == Some(&byte) => State::Text(matched + 1),
                        _ => State::Text(OTHER),
                    };
                }
                State::Escape => self.state = State::Text(OTHER),
                State::Search | State::Between | State::Word | State::Colon => self.between(byte),
            }
            if self.taking && !taking {
                begin = from;
            }
            if self.taking && self.candidate.is_some_and(|place| self.level <= place) {
                self.keep(&chunk[begin..at]);
                self.taking = false;
            }
        }
        if self.taking {
            self.keep(&chunk[begin..]);
        }
    }

    /// The same from the beginning of a string on, which may be the key.
    fn read_text(&mut self, chunk: &[u8], from: usize) -> usize {
        if chunk[from..].starts_with(b"usage\"") {
            self.state = State::Word;
            return from + b"usage\"".len();
        }
        // It may be cut in two within the key.
        if chunk.len() - from < b"usage\"".len() {
            let equal = chunk[from..].iter().zip(b"usage").take_while(|(byte, key)| byte == key).count();
            if from + equal == chunk.len() {
                #[expect(clippy::cast_possible_truncation, reason = "at most five")]
                {
                    self.state = State::Text(equal as u8);
                }
                return chunk.len();
            }
        }
        self.state = State::Text(OTHER);
        self.skip_text(chunk, from)
    }

    /// Goes to the end of a string, or to its next backslash.
    fn skip_text(&mut self, chunk: &[u8], from: usize) -> usize {
        let Some(stop) = memchr2(b'"', b'\\', &chunk[from..]) else { return chunk.len() };
        self.state = if chunk[from + stop] == b'"' { State::Between } else { State::Escape };
        from + stop + 1
    }

    fn between(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (state, b' ' | b'\t' | b'\r' | b'\n') => state,
            (State::Word, b':') => State::Colon,
            (state, b'{') => {
                if state == State::Colon && !self.taking && self.candidate.is_none_or(|at| self.level <= at) {
                    self.candidate = Some(self.level);
                    self.taking = true;
                    self.object.clear();
                }
                self.level += 1;
                State::Between
            }
            (_, b'[') => {
                self.level += 1;
                State::Between
            }
            (_, b'}' | b']') => {
                self.level -= 1;
                State::Between
            }
            (_, b'"') => State::Text(0),
            _ => State::Between,
        };
    }

    /// Keeps the candidate's bytes, one more than the limit at most so that too long can be told.
    fn keep(&mut self, bytes: &[u8]) {
        let room = (MAX_OBJECT + 1).saturating_sub(self.object.len());
        self.object.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Whether the byte, outside of strings, begins and ends nothing, and leaves things as they are behind a value.
fn is_plain(byte: u8) -> bool {
    PLAIN[usize::from(byte)]
}

static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        plain[byte as usize] =
            byte.is_ascii_alphanumeric() || matches!(byte, b',' | b'.' | b'-' | b'+' | b':');
        byte += 1;
    }
    plain
};

/// The end of the first `"usage"` from this place on whose first quote is not an escaped one, given the byte before
/// all of these.
fn find(bytes: &[u8], before: Option<u8>, mut from: usize) -> Option<usize> {
    let previous = |at: usize| if at == 0 { before } else { bytes.get(at - 1).copied() };
    loop {
        let at = from + FINDER.find(bytes.get(from..)?)?;
        if previous(at) != Some(b'\\') {
            return Some(at + NEEDLE.len());
        }
        // Its last quote may be the first one of the next.
        from = at + 1;
    }
}

/// The usage in the `metadata` response header that vLLM sends beside embeddings as bytes.
pub fn usage_of_metadata(header: &[u8]) -> Option<Usage> {
    let mut reader = BodyReader::new();
    reader.push(header);
    reader.usage()
}
