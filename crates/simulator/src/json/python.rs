//! Reading a body as Python's `json` does: NaN and lone surrogates pass, errors have its words and places.
//!
//! serde_json reads what is right; only what it refuses is scanned here.

use serde_json::Value;

/// Nested deeper than this is refused (Python's recursion limit would be hit as well).
const MAX_DEPTH: usize = 500;
/// What stands in for `NaN` and its like, which a `Value` cannot hold.
pub(crate) const NAN: &str = "\u{fdd0}nan";

/// A body that was read.
pub(crate) struct Parsed {
    pub(crate) value: Value,
    /// It held half of a surrogate pair: the tokenizer will refuse the text.
    pub(crate) lone_surrogate: bool,
}

/// Reads a body. The error is Python's message and the place, counted in characters.
pub(crate) fn parse(text: &str) -> Result<Parsed, (&'static str, usize)> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(Parsed { value, lone_surrogate: false });
    }
    let mut scanner =
        Scanner { text, at: 0, repaired: String::with_capacity(text.len()), copied: 0, lone: false };
    scanner.whole().map_err(|(message, at)| (message, text.get(..at).unwrap_or(text).chars().count()))?;
    scanner.repaired.push_str(&text[scanner.copied..]);
    match serde_json::from_str(&scanner.repaired) {
        Ok(value) => Ok(Parsed { value, lone_surrogate: scanner.lone }),
        // Only numbers beyond every float are left: Python would read them as infinite.
        Err(_) => Err(("Expecting value", 0)),
    }
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    repaired: String,
    copied: usize,
    lone: bool,
}

type Outcome = Result<(), (&'static str, usize)>;

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn whole(&mut self) -> Outcome {
        self.space();
        self.value(0)?;
        self.space();
        if self.at < self.text.len() { Err(("Extra data", self.at)) } else { Ok(()) }
    }

    fn value(&mut self, depth: usize) -> Outcome {
        if depth > MAX_DEPTH {
            return Err(("Expecting value", self.at));
        }
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') if !self.text[self.at..].starts_with("-I") => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Outcome {
        let rest = &self.text[self.at..];
        if let Some(plain) = ["null", "true", "false"].into_iter().find(|word| rest.starts_with(word)) {
            self.at += plain.len();
            return Ok(());
        }
        for word in ["NaN", "-Infinity", "Infinity"] {
            if rest.starts_with(word) {
                self.replace(word.len(), &format!("\"{NAN}\""));
                return Ok(());
            }
        }
        Err(("Expecting value", self.at))
    }

    /// Leaves out `length` bytes and puts `instead` in their place.
    fn replace(&mut self, length: usize, instead: &str) {
        self.repaired.push_str(&self.text[self.copied..self.at]);
        self.repaired.push_str(instead);
        self.at += length;
        self.copied = self.at;
    }

    fn number(&mut self) -> Outcome {
        let start = self.at;
        let digits = |scanner: &mut Self| {
            let from = scanner.at;
            while matches!(scanner.peek(), Some(b'0'..=b'9')) {
                scanner.at += 1;
            }
            scanner.at > from
        };
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else if !digits(self) {
            return Err(("Expecting value", start));
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !digits(self) {
                self.at -= 1;
                return Ok(());
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            let exponent = self.at;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !digits(self) {
                self.at = exponent;
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Outcome {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(("Unterminated string starting at", start)),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape(start)?,
                Some(byte) if byte < 0x20 => return Err(("Invalid control character at", self.at)),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self, start: usize) -> Outcome {
        match self.text.as_bytes().get(self.at + 1) {
            None => Err(("Unterminated string starting at", start)),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let unit = self.unit(self.at).ok_or(("Invalid \\uXXXX escape", self.at + 1))?;
                let pair = (0xd800..0xdc00).contains(&unit)
                    && self.text[self.at + 6..].starts_with("\\u")
                    && self.unit(self.at + 6).is_some_and(|low| (0xdc00..0xe000).contains(&low));
                if pair {
                    self.at += 12;
                } else if (0xd800..0xe000).contains(&unit) {
                    self.lone = true;
                    self.replace(6, "\u{fffd}");
                } else {
                    self.at += 6;
                }
                Ok(())
            }
            Some(_) => Err(("Invalid \\escape", self.at)),
        }
    }

    /// The number of the `\uXXXX` at `at`.
    fn unit(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at + 2..at + 6)?;
        digits
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
            .then(|| u32::from_str_radix(digits, 16).ok())
            .flatten()
    }

    fn array(&mut self, depth: usize) -> Outcome {
        self.at += 1;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            self.space();
            match self.peek() {
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b',') => self.at += 1,
                _ => return Err(("Expecting ',' delimiter", self.at)),
            }
            self.space();
        }
    }

    fn object(&mut self, depth: usize) -> Outcome {
        const NO_NAME: &str = "Expecting property name enclosed in double quotes";
        self.at += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err((NO_NAME, self.at));
            }
            self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(("Expecting ':' delimiter", self.at));
            }
            self.at += 1;
            self.space();
            self.value(depth + 1)?;
            self.space();
            match self.peek() {
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b',') => self.at += 1,
                _ => return Err(("Expecting ',' delimiter", self.at)),
            }
            self.space();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn error(text: &str) -> (&'static str, usize) {
        parse(text).err().unwrap()
    }

    #[test]
    fn errors_have_pythons_words_and_places() {
        assert_eq!(error(r#"{"model": "Qwen3-32B", "messages": ["#), ("Expecting value", 36));
        assert_eq!(error("{"), ("Expecting property name enclosed in double quotes", 1));
        assert_eq!(error("{'a': 1}"), ("Expecting property name enclosed in double quotes", 1));
        assert_eq!(error(r#"{"a" 1}"#), ("Expecting ':' delimiter", 5));
        assert_eq!(error(r#"{"a": 1 "b"}"#), ("Expecting ',' delimiter", 8));
        assert_eq!(error(r#"{"ä": "x"#), ("Unterminated string starting at", 6));
        assert_eq!(error("{} x"), ("Extra data", 3));
        assert_eq!(error("[1,]"), ("Expecting value", 3));
        assert_eq!(error("\"\\x\""), ("Invalid \\escape", 1));
    }

    #[test]
    fn nan_and_lone_surrogates_pass_and_can_be_told() {
        let parsed = parse(r#"{"a": NaN, "b": "\ud800", "c": "NaN \ud83d\ude42"}"#).unwrap();
        assert_eq!(parsed.value["a"], NAN);
        assert_eq!(parsed.value["b"], "\u{fffd}");
        assert_eq!(parsed.value["c"], "NaN 🙂");
        assert!(parsed.lone_surrogate);
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_crash() {
        assert!(parse(&"[".repeat(1_000_000)).is_err());
    }
}
