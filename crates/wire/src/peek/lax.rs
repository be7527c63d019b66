//! Booleans and integers as loosely as vLLM's Python models read them.

use std::borrow::Cow;

/// A value where vLLM expects a boolean or null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lax {
    /// `true`, `1`, `1.0`, `"on"`, `"yes"` …
    True,
    /// `false`, `0`, `0.0`, `"off"`, `"no"` …
    False,
    /// `null`.
    Null,
    /// Anything else: vLLM refuses the request.
    Invalid,
}

impl Lax {
    /// True only where vLLM acts on it.
    pub fn is_true(self) -> bool {
        self == Self::True
    }

    /// What a string says, as pydantic reads it: no trimming, ASCII case ignored.
    pub fn of_text(text: &[u8]) -> Self {
        let any = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()));
        if any(&["true", "1", "on", "yes", "t", "y"]) {
            Self::True
        } else if any(&["false", "0", "off", "no", "f", "n"]) {
            Self::False
        } else {
            Self::Invalid
        }
    }

    /// What a whole JSON value says, given its raw bytes (empty for an array, an object, or a value too long).
    pub(crate) fn of_json(raw: &[u8]) -> Self {
        match raw.first() {
            Some(b't') => Self::True,
            Some(b'f') => Self::False,
            Some(b'n') => Self::Null,
            Some(b'"') => unescape(raw).map_or(Self::Invalid, |text| Self::of_text(text.as_bytes())),
            Some(b'-' | b'0'..=b'9') => match plain_number(raw) {
                Some(1.0) => Self::True,
                // Both zeroes: Python's -0.0 equals 0.
                Some(0.0) => Self::False,
                _ => Self::Invalid,
            },
            _ => Self::Invalid,
        }
    }
}

/// How many choices `n` asks for. Where the value is none that vLLM takes, 1 or more does no harm: it refuses.
pub(crate) fn count(raw: &[u8]) -> u32 {
    match number(raw) {
        Some(number) if number >= f64::from(u32::MAX) => u32::MAX,
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "within u32 by the guards"
        )]
        Some(number) if number >= 1.0 => number as u32,
        _ => 1,
    }
}

/// What a member asks for where vLLM expects an integer or null, rounded up; `None` for null. What cannot be read is
/// the most that can be asked for, so that nothing slips past a bound (an array, an object or a value too long is empty
/// here).
pub(crate) fn amount(raw: &[u8]) -> Option<u64> {
    let asked = match raw.first() {
        Some(b'n') => return None,
        Some(b't') => Some(1.0),
        Some(b'f') => Some(0.0),
        _ => number(raw),
    };
    Some(rounded_up(asked))
}

/// The same of a text.
pub(crate) fn amount_of_text(text: &[u8]) -> u64 {
    rounded_up(std::str::from_utf8(text).ok().and_then(number_of_text))
}

fn rounded_up(asked: Option<f64>) -> u64 {
    match asked {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "what is beyond u64 becomes its end"
        )]
        Some(asked) if !asked.is_nan() => asked.ceil() as u64,
        _ => u64::MAX,
    }
}

/// A number, or a string that holds one, with the underscores and the space around it that pydantic takes.
fn number(raw: &[u8]) -> Option<f64> {
    match raw.first() {
        Some(b'"') => number_of_text(&unescape(raw)?),
        Some(b'-' | b'0'..=b'9') => plain_number(raw),
        _ => None,
    }
}

fn number_of_text(text: &str) -> Option<f64> {
    text.trim().replace('_', "").parse().ok()
}

/// The text of a JSON string given with its quotes; `None` if it holds an unpaired surrogate.
pub(crate) fn unescape(quoted: &[u8]) -> Option<Cow<'_, str>> {
    let inner = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', inner).is_none() {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice(quoted).ok().map(Cow::Owned)
}

fn plain_number(raw: &[u8]) -> Option<f64> {
    std::str::from_utf8(raw).ok()?.parse().ok()
}
