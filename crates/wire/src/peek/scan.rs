//! The scanner: a state machine over the bytes of a JSON body that stops at nothing but an error.

use memchr::memchr2;

use super::members::Notes;
use super::{MAX_DEPTH, MAX_SCALAR, PeekError, Peeked};

#[derive(Clone, Copy)]
enum State {
    /// At the very start; so many bytes of a byte order mark were skipped.
    Start(u8),
    Value,
    /// After `[`: a value or `]`.
    FirstElement,
    /// After `{`: a key or `}`.
    FirstKey,
    /// After `,` in an object.
    Key,
    Colon,
    /// After a value, inside an array or object.
    After,
    /// After the last `}`.
    End,
    Text,
    Escape,
    /// So many hexadecimal digits of `\u` are still to come.
    Hex(u8),
    /// Inside of a literal: what is still to come of it.
    Word(&'static [u8]),
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    E,
    ExponentSign,
    Exponent,
}

/// Reads one JSON body, segment by segment.
pub struct Peek {
    state: State,
    /// Length of the segments before the present one.
    before: usize,
    depth: u8,
    /// One bit for each open bracket, the innermost lowest: is it an object?
    objects: u64,
    in_key: bool,
    /// A UTF-8 sequence that a segment's end cut in two.
    cut: [u8; 4],
    cut_len: u8,
    keeping: bool,
    kept: Vec<u8>,
    close: usize,
    notes: Notes,
    failed: Option<PeekError>,
}

impl Default for Peek {
    fn default() -> Self {
        Self::new()
    }
}

impl Peek {
    /// A reader at the start of a body.
    pub fn new() -> Self {
        Self {
            state: State::Start(0),
            before: 0,
            depth: 0,
            objects: 0,
            in_key: false,
            cut: [0; 4],
            cut_len: 0,
            keeping: false,
            kept: Vec::new(),
            close: 0,
            notes: Notes::new(),
            failed: None,
        }
    }

    /// Reads the next segment. After an error every further call gives the same error.
    pub fn feed(&mut self, segment: &[u8]) -> Result<(), PeekError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.scan(segment);
        self.failed = result.err();
        result
    }

    /// Says what was found, once the whole body was fed.
    pub fn finish(self) -> Result<Peeked, PeekError> {
        match (self.failed, self.state) {
            (Some(error), _) => Err(error),
            (None, State::End) => Ok(self.notes.finish(self.close, self.before)),
            (None, State::Start(0 | 3)) => Err(PeekError::Empty),
            (None, _) => Err(PeekError::Unfinished { at: self.before }),
        }
    }

    fn scan(&mut self, segment: &[u8]) -> Result<(), PeekError> {
        let mut at = 0;
        while let Some(&byte) = segment.get(at) {
            at = match self.state {
                State::Text => self.text(segment, at)?,
                // In an array no number matters, and a prompt of token ids has nothing else.
                State::Integer if !self.in_object() && byte.is_ascii_digit() => at + integers(&segment[at..]),
                _ => {
                    self.step(byte, self.before + at)?;
                    at + 1
                }
            };
        }
        self.before += segment.len();
        Ok(())
    }

    fn step(&mut self, byte: u8, at: usize) -> Result<(), PeekError> {
        let expected = match (self.state, byte) {
            (
                State::Value
                | State::FirstElement
                | State::FirstKey
                | State::Key
                | State::Colon
                | State::After
                | State::End
                | State::Start(0 | 3),
                b' ' | b'\n' | b'\r' | b'\t',
            ) => return Ok(()),

            (State::Start(skipped @ 0..3), _) if byte == [0xEF, 0xBB, 0xBF][usize::from(skipped)] => {
                self.state = State::Start(skipped + 1);
                return Ok(());
            }
            (State::Start(0 | 3), b'{') => return self.open(byte, at),
            (State::Start(0 | 3), b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b'N' | b'I') => {
                return Err(PeekError::NotAnObject { at });
            }
            (State::Start(_), _) => "a JSON object",

            (State::FirstElement, b']') | (State::FirstKey, b'}') => return self.shut(at),
            (State::Value | State::FirstElement, _) => return self.value(byte, at),
            (State::FirstKey | State::Key, b'"') => {
                self.keep(self.notes.wants_key(self.depth), byte);
                (self.in_key, self.state) = (true, State::Text);
                return Ok(());
            }
            (State::FirstKey, _) => "a key in double quotes, or }",
            (State::Key, _) => "a key in double quotes",
            (State::Colon, b':') => return self.go(State::Value),
            (State::Colon, _) => "a colon",
            (State::After, b',') => {
                return self.go(if self.in_object() { State::Key } else { State::Value });
            }
            (State::After, b'}') if self.in_object() => return self.shut(at),
            (State::After, b']') if !self.in_object() => return self.shut(at),
            (State::After, _) if self.in_object() => "a comma or }",
            (State::After, _) => "a comma or ]",
            (State::End, _) => "the end of the body",

            (State::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                return self.keep_on(byte, State::Text);
            }
            (State::Escape, b'u') => return self.keep_on(byte, State::Hex(4)),
            (State::Escape, _) => "one of \" \\ / b f n r t u after a backslash",
            (State::Hex(left), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                return self.keep_on(byte, if left > 1 { State::Hex(left - 1) } else { State::Text });
            }
            (State::Hex(_), _) => "four hexadecimal digits after \\u",

            (State::Word([next, rest @ ..]), _) if byte == *next => {
                self.keep_on(byte, State::Word(rest))?;
                return if rest.is_empty() { self.value_done(at + 1) } else { Ok(()) };
            }
            (State::Word(_), _) => "true, false, null, NaN or Infinity",
            (state, _) => return self.number(state, byte, at),
        };
        Err(PeekError::Malformed { at, expected })
    }

    fn value(&mut self, byte: u8, at: usize) -> Result<(), PeekError> {
        let state = match byte {
            b'"' => State::Text,
            b'{' | b'[' => {
                self.notes.begin(self.depth, byte, at);
                return self.open(byte, at);
            }
            b'-' => State::Minus,
            b'0' => State::Zero,
            b'1'..=b'9' => State::Integer,
            b't' => State::Word(b"rue"),
            b'f' => State::Word(b"alse"),
            b'n' => State::Word(b"ull"),
            b'N' => State::Word(b"aN"),
            b'I' => State::Word(b"nfinity"),
            _ => return Err(PeekError::Malformed { at, expected: "a value" }),
        };
        let keep = self.notes.begin(self.depth, byte, at);
        self.keep(keep, byte);
        self.in_key = false;
        self.go(state)
    }

    fn number(&mut self, state: State, byte: u8, at: usize) -> Result<(), PeekError> {
        let next = match (state, byte) {
            (State::Minus, b'I') => State::Word(b"nfinity"),
            (State::Minus, b'0') => State::Zero,
            (State::Minus | State::Integer, b'0'..=b'9') => State::Integer,
            (State::Zero | State::Integer, b'.') => State::Point,
            (State::Zero | State::Integer | State::Fraction, b'e' | b'E') => State::E,
            (State::Point | State::Fraction, b'0'..=b'9') => State::Fraction,
            (State::E, b'+' | b'-') => State::ExponentSign,
            (State::E | State::ExponentSign | State::Exponent, b'0'..=b'9') => State::Exponent,
            (State::Zero | State::Integer | State::Fraction | State::Exponent, _) => {
                self.value_done(at)?;
                return self.step(byte, at);
            }
            _ => return Err(PeekError::Malformed { at, expected: "a digit" }),
        };
        self.keep_on(byte, next)
    }

    /// Reads on inside of a string and gives back where to go on in the segment.
    fn text(&mut self, segment: &[u8], mut at: usize) -> Result<usize, PeekError> {
        while self.cut_len > 0 {
            let Some(&byte) = segment.get(at) else { return Ok(at) };
            self.mend(byte, self.before + at)?;
            at += 1;
        }
        loop {
            let rest = &segment[at..];
            let stop = memchr2(b'"', b'\\', rest);
            let run = &rest[..stop.unwrap_or(rest.len())];
            self.check_run(run, self.before + at, stop.is_none())?;
            self.keep_run(run);
            let Some(stop) = stop else { return Ok(segment.len()) };
            self.keep_run(&rest[stop..=stop]);
            at += stop + 1;
            if rest[stop] == b'"' {
                self.text_done(self.before + at)?;
                return Ok(at);
            }
            match segment.get(at) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                    self.keep_run(&segment[at..=at]);
                    at += 1;
                }
                _ => {
                    self.state = State::Escape;
                    return Ok(at);
                }
            }
        }
    }

    fn text_done(&mut self, end: usize) -> Result<(), PeekError> {
        if !self.in_key {
            return self.value_done(end);
        }
        if self.notes.wants_key(self.depth) {
            let kept = self.keeping.then_some(self.kept.as_slice()).filter(|kept| kept.len() <= MAX_SCALAR);
            self.notes.key(self.depth, kept, end)?;
        }
        self.keeping = false;
        self.go(State::Colon)
    }

    /// Refuses control characters and bad UTF-8; keeps aside a sequence that only the segment's end cut.
    fn check_run(&mut self, run: &[u8], at: usize, may_be_cut: bool) -> Result<(), PeekError> {
        let (mut all, mut control) = (0_u8, 0_u8);
        for &byte in run {
            all |= byte;
            control |= u8::from(byte < 0x20);
        }
        if control != 0 {
            // What is wrong first is told, however the body was cut.
            let offset = run.iter().position(|&byte| byte < 0x20).unwrap_or_default();
            self.check_run(&run[..offset], at, false)?;
            let expected = "no bare control character in a string";
            return Err(PeekError::Malformed { at: at + offset, expected });
        }
        if all.is_ascii() {
            return Ok(());
        }
        let Err(error) = std::str::from_utf8(run) else { return Ok(()) };
        let tail = &run[error.valid_up_to()..];
        if error.error_len().is_some() || !may_be_cut {
            return Err(PeekError::NotUtf8 { at: at + error.valid_up_to() });
        }
        self.cut[..tail.len()].copy_from_slice(tail);
        #[expect(clippy::cast_possible_truncation, reason = "an incomplete sequence has at most three bytes")]
        {
            self.cut_len = tail.len() as u8;
        }
        Ok(())
    }

    /// Takes the next byte of a sequence that was cut in two.
    fn mend(&mut self, byte: u8, at: usize) -> Result<(), PeekError> {
        let len = usize::from(self.cut_len);
        self.cut[len] = byte;
        self.keep_run(&[byte]);
        match std::str::from_utf8(&self.cut[..=len]) {
            Ok(_) => self.cut_len = 0,
            Err(error) if error.error_len().is_none() => self.cut_len += 1,
            Err(_) => return Err(PeekError::NotUtf8 { at: at - len }),
        }
        Ok(())
    }

    fn open(&mut self, byte: u8, at: usize) -> Result<(), PeekError> {
        if self.depth == MAX_DEPTH {
            return Err(PeekError::TooDeep { at });
        }
        let object = byte == b'{';
        self.depth += 1;
        self.objects = self.objects << 1 | u64::from(object);
        self.go(if object { State::FirstKey } else { State::FirstElement })
    }

    fn shut(&mut self, at: usize) -> Result<(), PeekError> {
        self.depth -= 1;
        self.objects >>= 1;
        self.keeping = false;
        if self.depth == 0 {
            self.close = at;
            return self.go(State::End);
        }
        self.value_done(at + 1)
    }

    fn value_done(&mut self, end: usize) -> Result<(), PeekError> {
        let kept = self.keeping.then_some(self.kept.as_slice()).filter(|kept| kept.len() <= MAX_SCALAR);
        self.notes.end(self.depth, kept, end)?;
        self.keeping = false;
        self.go(State::After)
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    #[expect(clippy::unnecessary_wraps, reason = "reads as one step of `step`")]
    fn go(&mut self, state: State) -> Result<(), PeekError> {
        self.state = state;
        Ok(())
    }

    fn keep(&mut self, keeping: bool, first: u8) {
        self.keeping = keeping;
        if keeping {
            self.kept.clear();
            self.kept.push(first);
        }
    }

    fn keep_on(&mut self, byte: u8, state: State) -> Result<(), PeekError> {
        self.keep_run(&[byte]);
        self.go(state)
    }

    /// One byte more than the limit is kept, so that what is too long can be told.
    fn keep_run(&mut self, run: &[u8]) {
        if self.keeping {
            let room = (MAX_SCALAR + 1).saturating_sub(self.kept.len());
            self.kept.extend_from_slice(&run[..run.len().min(room)]);
        }
    }
}

/// How many of these bytes, the first of which is a digit, are integers and commas between them. Ends in an
/// integer, so that whatever follows is judged as after any other.
fn integers(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        at += match bytes[at..] {
            [b',', b'1'..=b'9', ..] => 2,
            [b',', b' ', b'1'..=b'9', ..] => 3,
            _ => return at,
        };
    }
}
