//! Value types for options: checked when the file is read, so that the error stands at the value.

use std::{borrow::Cow, fmt, path::Path, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time, written as `"30s"`, `"500ms"` or `"1h30m"`. The units are `ms`, `s`, `m`, `h` and `d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct DurationText(Duration);

impl DurationText {
    /// That many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The length of time.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Reads a length of time, which here may be nothing, as in `"0s"`.
    pub fn parse(text: &str) -> Result<Duration, String> {
        milliseconds(text).map(Duration::from_millis).ok_or_else(|| {
            format!(
                "`{}` is not a duration; write it with ms, s, m, h or d, like \"30s\", \"500ms\" or \"1h30m\"",
                text.escape_debug()
            )
        })
    }
}

/// The units of durations in milliseconds, the largest first. Months and years have no fixed length.
const UNITS: [(u64, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];

/// Numbers with units, the larger unit first, each once.
fn milliseconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    loop {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, behind) =
            behind.split_at(behind.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(behind.len()));
        let (length, _) = units.find(|(_, name)| *name == unit)?;
        total = number.parse::<u64>().ok()?.checked_mul(*length)?.checked_add(total)?;
        if behind.is_empty() {
            return Some(total);
        }
        rest = behind;
    }
}

impl TryFrom<String> for DurationText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match Self::parse(&text)? {
            Duration::ZERO => Err("a duration must be longer than nothing".to_owned()),
            duration => Ok(Self(duration)),
        }
    }
}

impl From<DurationText> for String {
    fn from(text: DurationText) -> Self {
        text.to_string()
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        for (length, name) in UNITS {
            if rest >= length {
                write!(f, "{}{name}", rest / length)?;
                rest %= length;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "duration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "title": "duration",
            "pattern": "^([0-9]+(ms|s|m|h|d))+$",
            "examples": ["30s", "500ms", "1h30m"],
        })
    }
}

/// A number of bytes, written as `"32MiB"` or `"64KiB"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct SizeText(u64);

impl SizeText {
    /// That many MiB.
    #[must_use]
    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl TryFrom<String> for SizeText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse::<bytesize::ByteSize>() {
            Ok(size) if size.0 == 0 => Err("a size must be more than nothing".to_owned()),
            Ok(size) => Ok(Self(size.0)),
            Err(_) => {
                Err(format!("`{}` is not a size; write it like \"32MiB\" or \"64KiB\"", text.escape_debug()))
            }
        }
    }
}

impl From<SizeText> for String {
    fn from(text: SizeText) -> Self {
        text.to_string()
    }
}

impl fmt::Display for SizeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(unit, _)| self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl fmt::Debug for SizeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl JsonSchema for SizeText {
    fn schema_name() -> Cow<'static, str> {
        "size".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "title": "size", "examples": ["32MiB", "64KiB"] })
    }
}

/// Where a secret is kept: `"env:NAME"` or `"file:PATH"`. The secret itself is never in the file.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretRef {
    /// In this environment variable.
    Env(String),
    /// In this file; a relative path is relative to `gateway.toml`.
    File(String),
}

/// Why a secret could not be read. Never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not there.
    #[error("the environment variable `{0}` is not set")]
    Unset(String),
    /// The variable or file holds nothing.
    #[error("{0} is empty")]
    Empty(SecretRef),
    /// The file cannot be read.
    #[error("cannot read the secret file `{path}`")]
    File {
        /// As written in `gateway.toml`.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl SecretRef {
    /// Reads the secret; white space around it does not count. Files are looked for from `base`.
    pub fn read(&self, base: &Path) -> Result<String, SecretError> {
        let text = match self {
            Self::Env(name) => std::env::var(name).map_err(|_| SecretError::Unset(name.clone()))?,
            Self::File(path) => std::fs::read_to_string(base.join(path))
                .map_err(|source| SecretError::File { path: path.clone(), source })?,
        };
        match text.trim() {
            "" => Err(SecretError::Empty(self.clone())),
            secret => Ok(secret.to_owned()),
        }
    }
}

impl TryFrom<String> for SecretRef {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.to_owned())),
            // The text may be a secret that somebody pasted here: it is not repeated.
            _ => Err("a secret is written as \"env:NAME\" or \"file:PATH\", never as itself"),
        }
    }
}

impl From<SecretRef> for String {
    fn from(secret: SecretRef) -> Self {
        secret.to_string()
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
        }
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl JsonSchema for SecretRef {
    fn schema_name() -> Cow<'static, str> {
        "secret".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "title": "secret", "pattern": "^(env|file):.+", "examples": ["env:NAME", "file:PATH"] })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn duration(text: &str) -> Result<DurationText, String> {
        text.to_owned().try_into()
    }

    #[test]
    fn durations_are_read_as_they_are_shown() {
        for text in ["500ms", "30s", "90d", "1h30m", "1d2h3m4s5ms"] {
            assert_eq!(duration(text).unwrap().to_string(), text);
        }
        assert_eq!(duration("90s").unwrap(), DurationText::seconds(90));
        assert_eq!(duration("90s").unwrap().to_string(), "1m30s");
        assert_eq!(duration("0h2m").unwrap().get(), Duration::from_secs(120));
        assert_eq!(DurationText::parse("0s").unwrap(), Duration::ZERO);
    }

    #[test]
    fn units_that_have_no_fixed_length_and_other_spellings_are_refused() {
        let wrong = [
            "3 months",
            "1 year",
            "1y",
            "2w",
            "30 sec",
            "30sec",
            "30 s",
            " 30s",
            "1h 30m",
            "30m1h",
            "1h1h",
            "30",
            "s",
            "",
            "-1s",
            "1.5s",
            "30S",
            "10us",
            "1h30",
            "30s,",
            "99999999999999999999s",
            "18446744073709551615d",
            "３s",
        ];
        for text in wrong {
            let error = duration(text).unwrap_err();
            assert!(
                error.contains("with ms, s, m, h or d, like \"30s\", \"500ms\" or \"1h30m\""),
                "{text}: {error}"
            );
        }
        assert_eq!(duration("0s").unwrap_err(), "a duration must be longer than nothing");
    }
}
