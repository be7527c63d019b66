//! Why there is no answer.

use std::io;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection came about: nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The connection broke before the head of an answer was there.
    #[error("the connection broke: {0}")]
    Broke(io::Error),
    /// What came is no answer.
    #[error("the answer makes no sense: {0}")]
    Malformed(&'static str),
}

impl SendError {
    /// Whether nothing can have reached the server.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Connect(_))
    }

    /// What the system said.
    #[must_use]
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Connect(error) | Self::Broke(error) => Some(error),
            Self::Malformed(_) => None,
        }
    }
}

/// What came of an answer's head or body makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl From<Malformed> for SendError {
    fn from(Malformed(why): Malformed) -> Self {
        Self::Malformed(why)
    }
}

impl From<Malformed> for io::Error {
    fn from(Malformed(why): Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidData, why)
    }
}
