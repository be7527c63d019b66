//! What became of one request.

use std::time::Duration;

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With `[DONE]`.
    Finished,
    /// Another status than 200, or no answer at all: what it was.
    Refused(String),
    /// After the head of its answer.
    Broke(String),
    /// Not in the time that was left for it.
    Unfinished,
}

/// All times but `first` count from the start of the trace.
pub(crate) struct Outcome {
    /// When it was to be sent.
    pub(crate) at: Duration,
    /// How long its first token took since then.
    pub(crate) first: Option<Duration>,
    pub(crate) end: Duration,
    pub(crate) ended: Ended,
}

impl Outcome {
    /// How long its client waited for a token; of one that never came, how long it waited in vain. None for one that was
    /// told no, or broke: that is counted and not timed.
    pub(crate) fn waited(&self) -> Option<Duration> {
        match self.ended {
            Ended::Unfinished => Some(self.first.unwrap_or(self.end.saturating_sub(self.at))),
            _ => self.first,
        }
    }
}
