//! One problem of a configuration file, for people and for programs.

use std::{fmt, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that `check` has to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// The file, as it was named.
    pub file: String,
    /// Its line, from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// The column in characters, from 1; 0 where the file as a whole is meant.
    pub column: usize,
    /// Whether it must be put right.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line itself and how many characters of it are meant, for people.
    #[serde(skip)]
    pub(crate) source: Option<(String, usize)>,
    /// What cannot be done where this is so, warning or not.
    #[serde(skip)]
    pub(crate) blocks: Option<Blocks>,
}

/// What the state of this machine may be in the way of: `check` warns of it, since the gateway may run elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// A start, which alone reads it.
    Start,
    /// A start, and a reload too.
    Reload,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, and probably should not.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// `file:line:column: severity: message`, and the hint on a line of its own.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.tail(f)
    }
}

impl Diagnostic {
    /// An error of the file as a whole.
    pub fn of_file(file: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Self {
            file: file.as_ref().display().to_string(),
            line: 0,
            column: 0,
            severity: Severity::Error,
            message: message.into(),
            hint: None,
            source: None,
            blocks: None,
        }
    }

    /// The same with the line of the file and a caret below the place.
    #[must_use]
    pub fn with_source(&self) -> impl fmt::Display {
        struct WithSource<'d>(&'d Diagnostic);
        impl fmt::Display for WithSource<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.head(f)?;
                self.0.caret(f)?;
                self.0.tail(f)
            }
        }
        WithSource(self)
    }

    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, severity, message, .. } = self;
        if *line == 0 {
            return write!(f, "{file}: {severity}: {message}");
        }
        write!(f, "{file}:{line}:{column}: {severity}: {message}")
    }

    fn caret(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((source, width)) = &self.source else { return Ok(()) };
        // A tab stays a tab, so that the caret stands below its character at any tab width; what else could
        // move the cursor is shown as a mark.
        let shown: String =
            source.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
        let before: String =
            shown.chars().take(self.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let left = shown.chars().count().saturating_sub(self.column - 1).max(1);
        let line = self.line.to_string();
        let gutter = " ".repeat(line.len());
        write!(f, "\n  {line} | {shown}\n  {gutter} | {before}{}", "^".repeat((*width).min(left)))
    }

    fn tail(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn diagnostic() -> Diagnostic {
        Diagnostic {
            file: "gateway.toml".into(),
            line: 12,
            column: 4,
            severity: Severity::Error,
            message: "no filter named `x`".into(),
            hint: Some("declare it".into()),
            source: Some(("\tä = x\u{1b}y".into(), 40)),
            blocks: None,
        }
    }

    #[test]
    fn the_text_can_be_clicked_in_editors() {
        assert_eq!(
            diagnostic().to_string(),
            "gateway.toml:12:4: error: no filter named `x`\n  hint: declare it"
        );
    }

    #[test]
    fn the_caret_stands_below_the_place_and_ends_with_the_line() {
        let wanted = "gateway.toml:12:4: error: no filter named `x`\n  12 | \tä = x\u{fffd}y\n     | \t  ^^^^^\n  hint: declare it";
        assert_eq!(diagnostic().with_source().to_string(), wanted);
    }

    #[test]
    fn json_has_the_documented_members() {
        let json = serde_json::to_value([diagnostic()]).unwrap();
        let wanted = serde_json::json!([{
            "file": "gateway.toml", "line": 12, "column": 4, "severity": "error",
            "message": "no filter named `x`", "hint": "declare it",
        }]);
        assert_eq!(json, wanted);
    }
}
