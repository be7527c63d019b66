//! What can be wrong with a form, in words fit for the client.

use std::fmt;

use super::{MAX_HEADERS, MAX_PARTS, MAX_VALUE, Name};

/// Why a form was refused. The messages give positions, never the client's own text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MultipartError {
    /// The Content-Type is not `multipart/form-data` with one plain boundary; says what is wrong with it.
    ContentType(&'static str),
    /// The body is not what the boundary promises.
    Malformed {
        /// Offset of the first byte that cannot be.
        at: usize,
        /// What would have been right there.
        expected: &'static str,
    },
    /// The body ended before its closing boundary.
    Unfinished {
        /// Length of the body.
        at: usize,
    },
    /// A part's headers can be read in more than one way; says what is wrong with them.
    PartHeaders {
        /// Offset just after these headers.
        at: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// A part has more than [`MAX_HEADERS`] bytes of headers.
    HeadersTooLong {
        /// Offset of the part's first header.
        at: usize,
    },
    /// There are more than [`MAX_PARTS`] parts.
    TooManyParts,
    /// A field that the gateway reads is longer than [`MAX_VALUE`].
    ValueTooLong {
        /// Which.
        field: Name,
    },
    /// A field that the gateway reads is given in a way that others may read differently.
    OddField {
        /// Which.
        field: Name,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The field `model` stands twice.
    DuplicateModel {
        /// Offset just after the second one's headers.
        at: usize,
    },
    /// The name to be written into the form holds a control character.
    UnwritableName,
}

impl fmt::Display for MultipartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ContentType(problem) => write!(f, "content-type: {problem}"),
            Self::Malformed { at, expected } => {
                write!(f, "malformed form at byte {at}: expected {expected}")
            }
            Self::Unfinished { at } => {
                write!(f, "malformed form at byte {at}: the body ends before its closing boundary")
            }
            Self::PartHeaders { at, problem } => {
                write!(f, "malformed form at byte {at}: in the headers of a part, {problem}")
            }
            Self::HeadersTooLong { at } => {
                write!(f, "malformed form at byte {at}: a part has more than {MAX_HEADERS} bytes of headers")
            }
            Self::TooManyParts => write!(f, "the form has more than {MAX_PARTS} parts"),
            Self::ValueTooLong { field } => {
                write!(f, "form field \"{}\" is longer than {MAX_VALUE} bytes", field.as_str())
            }
            Self::OddField { field, problem } => {
                write!(f, "form field \"{}\": {problem}", field.as_str())
            }
            Self::DuplicateModel { at } => write!(f, "duplicate form field \"model\" at byte {at}"),
            Self::UnwritableName => f.write_str(
                "the model's name for the upstream holds a control character: no form can carry it",
            ),
        }
    }
}

impl std::error::Error for MultipartError {}
