//! What can go wrong in a store, cut by what the caller can do about it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

type Source = Box<dyn Error + Send + Sync + 'static>;

/// Why a call to the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, is too busy or did not answer in time. A write may have happened or not:
    /// every write of [`LogStore`](crate::LogStore) can be repeated as it is.
    #[error("{message}")]
    Unavailable {
        /// What failed, and what to look at.
        message: String,
        /// What the store's driver said.
        #[source]
        source: Option<Source>,
    },
    /// The question covers more than can be looked through in time, and was stopped: a narrower one is answered.
    #[error("{message}")]
    TooSlow {
        /// How long it was given, and what to ask instead.
        message: String,
        /// What the store's driver said.
        #[source]
        source: Option<Source>,
    },
    /// Something with this id or this key exists already.
    #[error("{message}")]
    Conflict {
        /// What is taken.
        message: String,
        /// What the store's driver said.
        #[source]
        source: Option<Source>,
    },
    /// The call or the configuration is wrong; repeating it does not help.
    #[error("{message}")]
    Invalid {
        /// What is wrong and what is allowed.
        message: String,
        /// What the store's driver said.
        #[source]
        source: Option<Source>,
    },
    /// The store holds something unexpected, or this crate has a bug.
    #[error("{message}")]
    Internal {
        /// What was found.
        message: String,
        /// What the store's driver said.
        #[source]
        source: Option<Source>,
    },
}

impl StoreError {
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::Unavailable { message: message.into(), source: None }
    }

    pub(crate) fn too_slow(longest: Duration) -> Self {
        let message = format!(
            "the query took longer than {} s and was stopped: ask for a shorter time or fewer records",
            longest.as_secs()
        );
        Self::TooSlow { message, source: None }
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::Conflict { message: message.into(), source: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), source: None }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::Internal { message: message.into(), source: None }
    }

    /// The same error with what the driver said as its source.
    #[must_use]
    pub(crate) fn because(mut self, cause: impl Into<Source>) -> Self {
        match &mut self {
            Self::Unavailable { source, .. }
            | Self::TooSlow { source, .. }
            | Self::Conflict { source, .. }
            | Self::Invalid { source, .. }
            | Self::Internal { source, .. } => *source = Some(cause.into()),
        }
        self
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::TooSlow { .. })
    }

    /// The message together with what the driver said, on one line: for logs.
    #[must_use]
    pub fn full(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            let said = cause.to_string();
            if !text.contains(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            next = cause.source();
        }
        text
    }
}

/// What a driver said, as text: secrets have been masked in it, which the driver's own error could not
/// promise.
#[derive(Debug)]
pub(crate) struct Said(pub(crate) String);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Said {}
