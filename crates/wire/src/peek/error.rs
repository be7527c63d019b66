//! What can be wrong with a request body, in words fit for the client.

use std::fmt;

/// Why a JSON body was refused. The messages give positions, never the client's own text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeekError {
    /// There is nothing but white space.
    Empty,
    /// The top level is valid so far but is not an object.
    NotAnObject {
        /// Offset of the value's first byte.
        at: usize,
    },
    /// The text is not JSON.
    Malformed {
        /// Offset of the first byte that cannot be.
        at: usize,
        /// What would have been right there.
        expected: &'static str,
    },
    /// The body ended before its JSON did.
    Unfinished {
        /// Length of the body.
        at: usize,
    },
    /// A string holds bytes that are not UTF-8.
    NotUtf8 {
        /// Offset of the first such byte.
        at: usize,
    },
    /// More than [`MAX_DEPTH`](super::MAX_DEPTH) arrays and objects stand in one another.
    TooDeep {
        /// Offset of the bracket that goes too deep.
        at: usize,
    },
    /// The key `model` stands twice at the top level.
    DuplicateModel {
        /// Offset just after the second key.
        at: usize,
    },
    /// The model's name is longer than [`MAX_SCALAR`](super::MAX_SCALAR).
    ModelTooLong,
    /// The value of this member is longer than [`MAX_SCALAR`](super::MAX_SCALAR): what vLLM would make of it is not known.
    TooLong {
        /// The member's name.
        name: &'static str,
    },
    /// The model's name holds half of a surrogate pair and so is not text.
    ModelNotText,
}

impl fmt::Display for PeekError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => f.write_str("the body is empty: a JSON object is expected"),
            Self::NotAnObject { at } => {
                write!(f, "the body must be a JSON object: something else begins at byte {at}")
            }
            Self::Malformed { at, expected } => {
                write!(f, "malformed JSON at byte {at}: expected {expected}")
            }
            Self::Unfinished { at } => write!(f, "malformed JSON at byte {at}: the body ends too early"),
            Self::NotUtf8 { at } => write!(f, "malformed JSON at byte {at}: not UTF-8"),
            Self::TooDeep { at } => {
                write!(f, "nesting deeper than {} levels at byte {at}", super::MAX_DEPTH)
            }
            Self::DuplicateModel { at } => write!(f, "duplicate key \"model\" at byte {at}"),
            Self::ModelTooLong => {
                write!(f, "the value of \"model\" is longer than {} bytes", super::MAX_SCALAR)
            }
            Self::TooLong { name } => {
                write!(f, "the value of \"{name}\" is longer than {} bytes", super::MAX_SCALAR)
            }
            Self::ModelNotText => f.write_str("the value of \"model\" holds an unpaired surrogate escape"),
        }
    }
}

impl std::error::Error for PeekError {}
