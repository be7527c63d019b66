//! Faults: what can be made to go wrong, when, and for which requests.

mod faults;
mod plan;
mod rule;
mod spelling;

use std::time::Duration;

pub(crate) use faults::Faults;
pub(crate) use plan::{Before, Plan};
pub use rule::Rule;
pub use spelling::FaultError;

/// One thing that goes wrong. Its spelling (`Display`, `FromStr`) is in brackets.
///
/// "After k events" counts the events of a stream, `[DONE]` included and comments not; the fault strikes where
/// the next event would come. In an answer that is no stream it strikes in the middle of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing comes, not even a head (`hang`).
    Hang,
    /// The connection is reset instead of an answer (`reset`).
    Reset,
    /// The connection is closed instead of an answer (`close`).
    Close,
    /// Bytes that are not HTTP come, then the connection is closed (`not-http`).
    NotHttp,
    /// The answer comes later (`delay=200ms`).
    Delay(Duration),
    /// An error answer with this status instead (`status=503`).
    Status(u16),
    /// The stream stops after k events, the connection stays (`hang-after=3`).
    HangAfter(usize),
    /// The connection is reset after k events (`reset-after=3`).
    ResetAfter(usize),
    /// The connection is closed after k events, without the end of the body (`truncate-after=3`).
    TruncateAfter(usize),
    /// The connection is closed in the middle of the event after k events (`cut-inside=3`).
    CutInside(usize),
    /// Something that is no HTTP chunk comes after k events, then the connection is closed (`garbage-after=3`).
    GarbageAfter(usize),
    /// The body ends cleanly after k events, without `[DONE]` (`end-after=3`).
    EndAfter(usize),
    /// An error event and `[DONE]` after k events, as when the engine dies; a 500 if not streamed (s03; `error-after=3`).
    ErrorAfter(usize),
    /// The generation ends with `finish_reason: "abort"` after k events, with usage and `[DONE]` (s01; `abort-after=3`).
    AbortAfter(usize),
    /// Something that does not belong there after k events; the stream goes on (`junk=bom@0`).
    Junk(Junk, usize),
    /// Every event is cut into chunks of k bytes (`split=5`).
    Split(usize),
    /// Everything is written k bytes at a time, without waiting in between (`split-writes=5`).
    SplitWrites(usize),
    /// k events in one chunk (`join=3`).
    Join(usize),
    /// Everything is written k bytes at a time, with a pause after each (`drip=10:5ms`).
    Drip(usize, Duration),
    /// The kept-alive connection is closed right after the answer, without notice (`close-after-answer`).
    CloseAfterAnswer,
    /// `content-length` says this much more (or less) than comes; then the connection is closed (`wrong-length=10`).
    WrongLength(i64),
}

/// What does not belong into a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Junk {
    /// A line of HTML (`not-sse`).
    NotSse,
    /// An event that is not UTF-8 (`bad-utf8`).
    BadUtf8,
    /// An event whose data is not JSON (`bad-json`).
    BadJson,
    /// A byte order mark (`bom`).
    Bom,
    /// A data line of so many bytes (`huge-line:1048576`).
    HugeLine(usize),
}

/// What happens where a stream stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Hang,
    Reset,
    Truncate,
    CutInside,
    Garbage,
    End,
    Error,
    Abort,
}
