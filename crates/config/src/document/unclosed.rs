//! Brackets and quotes that are opened and never closed. The parser notices them lines later, and then at every line.
//!
//! Looked for only in a text that the parser refuses. Where one is found, the text is closed there, so that the parser
//! can be asked about the rest of it.

use std::ops::Range;

use super::SyntaxError;

/// Further ones are not worth the time: nobody reads them.
const ENOUGH: usize = 64;

/// What is unclosed, and the text with all of it closed.
pub(super) struct Closed {
    pub(super) errors: Vec<SyntaxError>,
    pub(super) text: String,
    edits: Vec<Edit>,
}

/// Some bytes of the text that others take the place of.
struct Edit {
    place: Range<usize>,
    with: String,
}

/// Finds what is unclosed; `None` if nothing is.
pub(super) fn close(text: &str) -> Option<Closed> {
    let mut scan = Scan { text, bytes: text.as_bytes(), ..Scan::default() };
    let mut at = 0;
    while at < text.len() && scan.errors.len() < ENOUGH {
        at = scan.line(at);
    }
    scan.end();
    let Scan { errors, mut edits, .. } = scan;
    if errors.is_empty() {
        return None;
    }
    edits.sort_by_key(|edit| edit.place.start);
    let mut closed = String::with_capacity(text.len() + edits.len());
    let mut from = 0;
    for edit in &edits {
        closed.push_str(text.get(from..edit.place.start).unwrap_or_default());
        closed.push_str(&edit.with);
        from = edit.place.end;
    }
    closed.push_str(text.get(from..).unwrap_or_default());
    Some(Closed { errors, text: closed, edits })
}

impl Closed {
    /// The place in the text as it was given.
    pub(super) fn original(&self, span: &Range<usize>) -> Range<usize> {
        self.byte(span.start)..self.byte(span.end)
    }

    fn byte(&self, byte: usize) -> usize {
        let mut added = 0;
        for edit in &self.edits {
            let start = edit.place.start + added;
            if byte < start + edit.with.len() {
                return byte.min(start) - added;
            }
            added += edit.with.len() - edit.place.len();
        }
        byte - added
    }
}

#[derive(Default)]
struct Scan<'t> {
    text: &'t str,
    bytes: &'t [u8],
    /// What is open here.
    open: Vec<Open>,
    /// Whether an equals sign stands before this in the line: only behind it brackets are values.
    in_value: bool,
    /// The end of the last thing that is neither white space nor comment.
    last: usize,
    /// Where an inline table probably ended, should its end not be found.
    doubt: Option<Doubt>,
    errors: Vec<SyntaxError>,
    edits: Vec<Edit>,
}

struct Open {
    at: usize,
    closer: u8,
}

struct Doubt {
    depth: usize,
    last: usize,
    line: usize,
}

impl Scan<'_> {
    /// Goes through a line, or through several where a string does; gives where to go on.
    fn line(&mut self, begin: usize) -> usize {
        let content = self.text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let end = begin + content.len();
        let start = begin + (content.len() - content.trim_start().len());
        let content = content.trim();
        match self.open.last() {
            None if content.starts_with('[') => {
                self.header(start, end);
                return self.next_line(end);
            }
            None => self.in_value = false,
            Some(innermost) => {
                let inline_table = innermost.closer == b'}';
                let key = is_key(content);
                if is_header(content) || (key && !inline_table) {
                    return self.give_up(begin);
                }
                // Two pairs on two lines need a comma between them; without one, the table may have ended before.
                let separated = matches!(self.bytes.get(self.last.wrapping_sub(1)), Some(b',' | b'{'));
                if key && !separated && self.doubt.is_none() {
                    self.doubt = Some(Doubt { depth: self.open.len(), last: self.last, line: begin });
                }
            }
        }
        self.tokens(start, end)
    }

    fn tokens(&mut self, mut at: usize, end: usize) -> usize {
        while at < end {
            let byte = self.bytes.get(at).copied().unwrap_or(b' ');
            let value = self.in_value || !self.open.is_empty();
            match byte {
                b'#' => break,
                b' ' | b'\t' => {}
                b'"' | b'\'' if self.begins_here(at) => match self.string(at, end) {
                    Ok(behind) => {
                        self.last = behind;
                        if behind > end {
                            // The rest of the line in which a multi-line string ends.
                            let rest = self.text.get(behind..).and_then(|rest| rest.lines().next());
                            return self.tokens(behind, behind + rest.unwrap_or_default().len());
                        }
                        at = behind;
                        continue;
                    }
                    Err(resume) => return resume,
                },
                b'[' | b'{' if value => {
                    self.open.push(Open { at, closer: if byte == b'[' { b']' } else { b'}' } });
                    self.last = at + 1;
                }
                b']' | b'}' if value => self.closes(at, byte),
                _ => {
                    self.in_value |= byte == b'=';
                    self.last = at + 1;
                }
            }
            at += 1;
        }
        self.next_line(end)
    }

    /// A quote in the middle of a word is no string, but an apostrophe.
    fn begins_here(&self, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|before| self.bytes.get(before));
        before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte < 0x80)
    }

    /// The end of the string that begins here; where to go on, if it has none.
    fn string(&mut self, at: usize, end: usize) -> Result<usize, usize> {
        let quote = self.bytes.get(at).copied().unwrap_or(b'"');
        let triple = [quote; 3];
        let several = self.bytes.get(at..at + 3) == Some(&triple);
        let (mark, limit) = if several { (3, self.text.len()) } else { (1, end) };
        let mut here = at + mark;
        while here < limit {
            match self.bytes.get(here) {
                Some(b'\\') if quote == b'"' => here += 1,
                Some(byte) if *byte == quote && !several => return Ok(here + 1),
                Some(_) if several && self.bytes.get(here..here + 3) == Some(&triple) => {
                    // Up to two quotes more belong to the text of the string.
                    let more = (3..5).take_while(|more| self.bytes.get(here + more) == Some(&quote)).count();
                    return Ok(here + 3 + more);
                }
                _ => {}
            }
            here += 1;
        }
        let mark_text = self.text.get(at..at + mark).unwrap_or("\"").to_owned();
        let message = if several {
            format!("unclosed string: this `{mark_text}` has no second one")
        } else {
            format!("unclosed string: this `{mark_text}` has no second one in its line")
        };
        self.error(at..at + mark, message, format!("close it with `{mark_text}`"));
        // Whatever was open will have been closed in what the string has swallowed.
        let closers: String = self.open.drain(..).rev().map(|open| char::from(open.closer)).collect();
        self.doubt = None;
        self.edits.push(Edit { place: limit..limit, with: mark_text + &closers });
        Err(self.next_line(limit))
    }

    fn closes(&mut self, at: usize, byte: u8) {
        self.last = at + 1;
        match self.open.iter().rposition(|open| open.closer == byte) {
            Some(index) if index + 1 == self.open.len() => {
                self.open.pop();
            }
            // It closes one around this one, which so has been forgotten.
            Some(index) => {
                let forgotten = self.open.split_off(index + 1);
                self.open.pop();
                self.report(&forgotten, Edit { place: at..at, with: String::new() });
            }
            None => {
                let wrong: Vec<Open> = self.open.pop().into_iter().collect();
                self.report(&wrong, Edit { place: at..at + 1, with: String::new() });
            }
        }
        if self.doubt.as_ref().is_some_and(|doubt| doubt.depth > self.open.len()) {
            self.doubt = None;
        }
    }

    /// A line that cannot stand inside of what is open: that has ended before. Gives where to go on.
    fn give_up(&mut self, begin: usize) -> usize {
        let (last, resume) = match self.doubt.take() {
            Some(doubt) => (doubt.last, doubt.line),
            None => (self.last, begin),
        };
        let open = std::mem::take(&mut self.open);
        // What was opened in lines that are gone through again will be opened again.
        let open: Vec<Open> = open.into_iter().filter(|open| open.at < resume).collect();
        self.report(&open, Edit { place: last..last, with: String::new() });
        self.last = last;
        resume
    }

    /// One error for brackets that are open at the same time: it stands at the outermost.
    fn report(&mut self, open: &[Open], edit: Edit) {
        let Some(first) = open.first() else { return };
        let closers: String = open.iter().rev().map(|open| char::from(open.closer)).collect();
        let message = if first.closer == b']' {
            "unclosed array: this `[` has no `]`"
        } else {
            "unclosed table: this `{` has no `}`"
        };
        self.error(first.at..first.at + 1, message.to_owned(), format!("close it with `{closers}`"));
        self.edits.push(Edit { with: closers, ..edit });
    }

    /// `[name]` or `[[name]]`.
    fn header(&mut self, start: usize, end: usize) {
        let line = self.text.get(start..end).unwrap_or_default();
        let (opener, closer) = if line.starts_with("[[") { ("[[", "]]") } else { ("[", "]") };
        let mut quote = None;
        let mut comment = None;
        for (index, c) in line.char_indices().skip(opener.len()) {
            match (quote, c) {
                (None, ']') => return self.half_closed(start + index, end, closer),
                (None, '#') => {
                    comment = Some(index);
                    break;
                }
                (None, '"' | '\'') => quote = Some(c),
                (Some(open), c) if c == open => quote = None,
                _ => {}
            }
        }
        let content = line.get(..comment.unwrap_or(line.len())).unwrap_or(line).trim_end();
        let message = format!("unclosed table header: this `{opener}` has no `{closer}`");
        self.error(start..start + opener.len(), message, format!("close it with `{closer}`"));
        let behind = start + content.len();
        // An open quote in it has swallowed the bracket, which is no help to the parser.
        let quote = quote.map(String::from).unwrap_or_default();
        self.edits.push(Edit { place: behind..behind, with: quote + closer });
    }

    /// `[[name]`, where one bracket of two is there.
    fn half_closed(&mut self, at: usize, end: usize, closer: &str) {
        let rest = self.text.get(at..end).unwrap_or_default();
        if closer == "]]" && !rest.starts_with("]]") {
            let start = self.text.get(..at).and_then(|before| before.rfind("[[")).unwrap_or(at);
            let message = "unclosed table header: this `[[` has no `]]`".to_owned();
            self.error(start..start + 2, message, "close it with `]]`".to_owned());
            self.edits.push(Edit { place: at + 1..at + 1, with: "]".to_owned() });
        }
    }

    fn error(&mut self, span: Range<usize>, message: String, hint: String) {
        self.errors.push(SyntaxError { span, message, hint: Some(hint) });
    }

    fn next_line(&self, end: usize) -> usize {
        let rest = self.bytes.get(end..).unwrap_or_default();
        rest.iter().position(|byte| *byte == b'\n').map_or(self.text.len(), |newline| end + newline + 1)
    }

    /// What is still open at the end of the text.
    fn end(&mut self) {
        while !self.open.is_empty() && self.errors.len() < ENOUGH {
            let mut at = self.give_up(self.text.len());
            while at < self.text.len() && self.errors.len() < ENOUGH {
                at = self.line(at);
            }
        }
    }
}

/// Whether a line begins with `key =`.
fn is_key(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| is_path(key.trim()))
}

/// Whether a line is `[name]` or `[[name]]`, and not an array in an array.
fn is_header(line: &str) -> bool {
    let Some(name) = line.strip_prefix("[[").or_else(|| line.strip_prefix('[')) else { return false };
    let (name, rest) = name.split_once(']').unwrap_or((name, ""));
    let name = name.split('#').next().unwrap_or_default().trim();
    let rest = rest.trim_start_matches(']').trim_start();
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins
        && is_path(name)
        && !matches!(name, "true" | "false" | "inf" | "nan")
        && (rest.is_empty() || rest.starts_with('#'))
}

/// Names with dots between them, each plain or in quotes.
pub(super) fn is_path(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ' | '\t');
    let mut quote = None;
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if !plain(c) => return false,
            _ => {}
        }
    }
    quote.is_none() && !text.is_empty()
}
