//! The reader: a state machine over the segments of a form.

use memchr::{memmem, memrchr};

use super::{Form, MAX_HEADERS, MAX_PARTS, MAX_VALUE, MultipartError, Name, header};
use crate::peek::{Cost, Field, FieldValue, Flag, Lax};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first boundary, of which so many bytes were read.
    First(usize),
    /// After a boundary: a line end, or two dashes.
    Boundary,
    /// After a boundary and a carriage return.
    BoundaryCr,
    /// After a boundary and one dash.
    BoundaryDash,
    Headers,
    /// In a part's content; so many bytes of a boundary were read.
    Content(usize),
    End,
}

/// Reads one form, segment by segment.
#[derive(Debug)]
pub struct FormReader {
    /// `\r\n--boundary`
    delimiter: memmem::Finder<'static>,
    state: State,
    /// Length of the segments before the present one.
    before: usize,
    /// The present part's headers, then its value if it is a field that is read.
    kept: Vec<u8>,
    /// Where the present part's headers, then its content, begin.
    start: usize,
    reading: Option<Name>,
    form: Form,
    failed: Option<MultipartError>,
}

impl FormReader {
    /// A reader for a form with this Content-Type.
    pub fn new(content_type: &str) -> Result<Self, MultipartError> {
        let boundary = header::boundary(content_type)?;
        let delimiter = format!("\r\n--{boundary}");
        Ok(Self {
            delimiter: memmem::Finder::new(&delimiter).into_owned(),
            state: State::First(0),
            before: 0,
            kept: Vec::new(),
            start: 0,
            reading: None,
            form: Form {
                model: None,
                stream: false,
                include_usage: None,
                continuous_usage_stats: None,
                cost: Cost::default(),
                boundary: boundary.to_owned(),
                close: 0,
                body_len: 0,
                parts: 0,
            },
            failed: None,
        })
    }

    /// Reads the next segment. After an error every further call gives the same error.
    pub fn feed(&mut self, segment: &[u8]) -> Result<(), MultipartError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.scan(segment);
        self.failed = result.err();
        result
    }

    /// Says what was found, once the whole body was fed.
    pub fn finish(mut self) -> Result<Form, MultipartError> {
        self.form.body_len = self.before;
        match (self.failed, self.state) {
            (Some(error), _) => Err(error),
            (None, State::End) => Ok(self.form),
            (None, _) => Err(MultipartError::Unfinished { at: self.before }),
        }
    }

    fn scan(&mut self, segment: &[u8]) -> Result<(), MultipartError> {
        let mut at = 0;
        while let Some(&byte) = segment.get(at) {
            at = match self.state {
                State::Content(0) => self.content(segment, at)?,
                _ => {
                    self.step(byte, self.before + at)?;
                    at + 1
                }
            };
        }
        self.before += segment.len();
        Ok(())
    }

    fn step(&mut self, byte: u8, at: usize) -> Result<(), MultipartError> {
        let expected = match (self.state, byte) {
            // Line ends before the first boundary mean nothing to anyone.
            (State::First(0) | State::End, b'\r' | b'\n') => return Ok(()),
            (State::First(read), _) if self.delimiter.needle().get(read + 2) == Some(&byte) => {
                let whole = read + 3 == self.delimiter.needle().len();
                self.state = if whole { State::Boundary } else { State::First(read + 1) };
                return Ok(());
            }
            (State::First(_), _) => "the first boundary",

            (State::Boundary, b'\r') => return self.go(State::BoundaryCr),
            (State::Boundary, b'-') => return self.go(State::BoundaryDash),
            (State::Boundary, _) => "a line end or -- after a boundary",
            (State::BoundaryCr, b'\n') => return self.begin_part(at + 1),
            (State::BoundaryCr, _) => "a line end after a boundary",
            (State::BoundaryDash, b'-') => {
                self.form.close = at + 1 - self.delimiter.needle().len();
                return self.go(State::End);
            }
            (State::BoundaryDash, _) => "-- after the last boundary",
            (State::End, _) => "nothing after the last boundary",

            (State::Headers, _) => return self.header_byte(byte, at),
            (State::Content(read), _) => return self.delimiter_byte(read, byte, at),
        };
        Err(MultipartError::Malformed { at, expected })
    }

    fn begin_part(&mut self, at: usize) -> Result<(), MultipartError> {
        if self.form.parts == MAX_PARTS {
            return Err(MultipartError::TooManyParts);
        }
        self.form.parts += 1;
        self.kept.clear();
        self.start = at;
        self.go(State::Headers)
    }

    fn header_byte(&mut self, byte: u8, at: usize) -> Result<(), MultipartError> {
        if self.kept.len() == MAX_HEADERS {
            return Err(MultipartError::HeadersTooLong { at: self.start });
        }
        self.kept.push(byte);
        let Some(headers) = self.kept.strip_suffix(b"\r\n\r\n") else {
            if self.kept == b"\r\n" {
                let problem = "content-disposition is missing";
                return Err(MultipartError::PartHeaders { at: at + 1, problem });
            }
            return Ok(());
        };
        let part =
            header::part(headers).map_err(|problem| MultipartError::PartHeaders { at: at + 1, problem })?;
        if let (Some(field), Some(problem)) = (part.name, part.odd) {
            return Err(MultipartError::OddField { field, problem });
        }
        if part.name == Some(Name::Model) && self.form.model.is_some() {
            return Err(MultipartError::DuplicateModel { at: at + 1 });
        }
        self.kept.clear();
        self.start = at + 1;
        self.reading = part.name;
        self.go(State::Content(0))
    }

    /// Goes through content to the delimiter, or to what may be its beginning at the segment's end.
    fn content(&mut self, segment: &[u8], at: usize) -> Result<usize, MultipartError> {
        let rest = &segment[at..];
        let len = self.delimiter.needle().len();
        if let Some(found) = self.delimiter.find(rest) {
            self.keep(&rest[..found])?;
            self.end_part(self.before + at + found)?;
            return Ok(at + found + len);
        }
        // A carriage return stands only at the delimiter's start, so the last one decides.
        let tail = rest.len() - rest.len().min(len - 1);
        let begun = memrchr(b'\r', &rest[tail..])
            .map(|offset| &rest[tail + offset..])
            .filter(|begun| self.delimiter.needle().starts_with(begun))
            .map_or(0, <[u8]>::len);
        self.keep(&rest[..rest.len() - begun])?;
        self.state = State::Content(begun);
        Ok(segment.len())
    }

    /// Takes a byte after the first `read` bytes of a delimiter that a segment's end cut in two.
    fn delimiter_byte(&mut self, read: usize, byte: u8, at: usize) -> Result<(), MultipartError> {
        if self.delimiter.needle().get(read) == Some(&byte) {
            if read + 1 == self.delimiter.needle().len() {
                return self.end_part(at - read);
            }
            return self.go(State::Content(read + 1));
        }
        // It was content after all; the byte may begin another delimiter.
        let begun = usize::from(byte == b'\r');
        if self.reading.is_some() {
            let content: Vec<u8> = self.delimiter.needle()[..read].to_vec();
            self.keep(&content)?;
            if begun == 0 {
                self.keep(&[byte])?;
            }
        }
        self.go(State::Content(begun))
    }

    fn keep(&mut self, content: &[u8]) -> Result<(), MultipartError> {
        let Some(field) = self.reading else { return Ok(()) };
        if self.kept.len() + content.len() > MAX_VALUE {
            return Err(MultipartError::ValueTooLong { field });
        }
        self.kept.extend_from_slice(content);
        Ok(())
    }

    fn end_part(&mut self, end: usize) -> Result<(), MultipartError> {
        self.state = State::Boundary;
        let Some(field) = self.reading.take() else { return Ok(()) };
        let range = self.start..end;
        let flag = || match self.kept.as_slice() {
            // FastAPI takes an empty form field for an absent one.
            [] => Flag { value: Lax::Null, range: range.clone() },
            text => Flag { value: Lax::of_text(text), range: range.clone() },
        };
        match field {
            Name::Stream => self.form.stream = flag().value.is_true(),
            Name::IncludeUsage => self.form.include_usage = Some(flag()),
            Name::ContinuousUsageStats => self.form.continuous_usage_stats = Some(flag()),
            Name::Amount(_) if self.kept.is_empty() => {}
            Name::Amount(amount) => self.form.cost.asks_in_form(amount, &self.kept, range),
            Name::Model => {
                let text = std::str::from_utf8(&self.kept)
                    .map_err(|_| MultipartError::OddField { field, problem: "it is not UTF-8" })?;
                let value =
                    if text.is_empty() { FieldValue::Empty } else { FieldValue::Text(text.to_owned()) };
                self.form.model = Some(Field { value, range });
            }
        }
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "reads as one step of `step`")]
    fn go(&mut self, state: State) -> Result<(), MultipartError> {
        self.state = state;
        Ok(())
    }
}
