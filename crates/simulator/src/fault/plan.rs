//! The faults of one request, put together.

use std::time::Duration;

use super::{After, Fault, Junk};

/// What happens instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    Hang,
    Reset,
    Close,
    NotHttp,
}

/// All that goes wrong with one exchange. The default is that nothing does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) before: Option<Before>,
    pub(crate) delay: Option<Duration>,
    pub(crate) status: Option<u16>,
    pub(crate) after: Option<(usize, After)>,
    pub(crate) junk: Option<(usize, Junk)>,
    pub(crate) split: Option<usize>,
    pub(crate) split_writes: Option<usize>,
    pub(crate) join: usize,
    pub(crate) drip: Option<(usize, Duration)>,
    pub(crate) close_after_answer: bool,
    pub(crate) wrong_length: i64,
    /// The faults in words, for the ledger.
    pub(crate) names: String,
}

impl Plan {
    /// Adds a fault; of two of the same kind the later one counts.
    pub(crate) fn add(&mut self, fault: Fault) {
        let separator = if self.names.is_empty() { "" } else { "; " };
        self.names = format!("{}{separator}{fault}", self.names);
        match fault {
            Fault::Hang => self.before = Some(Before::Hang),
            Fault::Reset => self.before = Some(Before::Reset),
            Fault::Close => self.before = Some(Before::Close),
            Fault::NotHttp => self.before = Some(Before::NotHttp),
            Fault::Delay(time) => self.delay = Some(time),
            Fault::Status(status) => self.status = Some(status),
            Fault::HangAfter(events) => self.after = Some((events, After::Hang)),
            Fault::ResetAfter(events) => self.after = Some((events, After::Reset)),
            Fault::TruncateAfter(events) => self.after = Some((events, After::Truncate)),
            Fault::CutInside(events) => self.after = Some((events, After::CutInside)),
            Fault::GarbageAfter(events) => self.after = Some((events, After::Garbage)),
            Fault::EndAfter(events) => self.after = Some((events, After::End)),
            Fault::ErrorAfter(events) => self.after = Some((events, After::Error)),
            Fault::AbortAfter(events) => self.after = Some((events, After::Abort)),
            Fault::Junk(junk, events) => self.junk = Some((events, junk)),
            Fault::Split(bytes) => self.split = Some(bytes),
            Fault::SplitWrites(bytes) => self.split_writes = Some(bytes),
            Fault::Join(events) => self.join = events,
            Fault::Drip(bytes, pause) => self.drip = Some((bytes, pause)),
            Fault::CloseAfterAnswer => self.close_after_answer = true,
            Fault::WrongLength(by) => self.wrong_length = by,
        }
    }
}
