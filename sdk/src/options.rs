//! Value types for options: checked when the file is read, so that the error stands at the value.

use std::{borrow::Cow, fmt, path::Path, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time, written as `"30s"`, `"500ms"` or `"1h 30m"`.
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
}

impl TryFrom<String> for DurationText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match humantime::parse_duration(&text) {
            Ok(Duration::ZERO) => Err("a duration must be longer than nothing".to_owned()),
            Ok(duration) => Ok(Self(duration)),
            Err(_) => Err(format!(
                "`{}` is not a duration; write it like \"30s\", \"500ms\" or \"1h 30m\"",
                text.escape_debug()
            )),
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
        humantime::format_duration(self.0).fmt(f)
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
        json_schema!({ "type": "string", "title": "duration", "examples": ["30s", "500ms", "1h 30m"] })
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
