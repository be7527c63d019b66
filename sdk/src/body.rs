//! The request's body: read once, on first use, bounded in size, time and memory, and kept as it came.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use vllm_gateway_wire::{
    multipart::{Form, FormReader},
    peek::{Peek, Peeked},
};

use crate::{Ending, Error};

/// A body as it comes from the client's connection.
pub type IncomingBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Bounds on request bodies, shared by all exchanges of a server.
#[derive(Debug)]
pub struct BodyLimits {
    /// The most bytes that one body may have.
    pub max: u64,
    /// The longest that reading one body may take.
    pub deadline: Duration,
    /// The memory that all bodies together may take.
    pub budget: Arc<BodyBudget>,
    /// The end of the gateway that all this is a part of.
    pub ending: Arc<Ending>,
}

impl BodyLimits {
    /// Bounds with a budget of their own.
    #[must_use]
    pub fn new(max: u64, deadline: Duration, budget: u64, ending: Arc<Ending>) -> Self {
        Self { max, deadline, budget: Arc::new(BodyBudget::new(budget)), ending }
    }
}

/// Bytes that all buffered bodies together may hold.
#[derive(Debug)]
pub struct BodyBudget {
    limit: u64,
    used: AtomicU64,
}

impl BodyBudget {
    /// A budget of that many bytes.
    #[must_use]
    pub const fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    /// Bytes in use now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= self.limit {
            return true;
        }
        self.give_back(bytes);
        false
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
struct Share {
    budget: Arc<BodyBudget>,
    bytes: u64,
}

impl Share {
    fn grow(&mut self, bytes: u64) -> Result<(), Error> {
        if !self.budget.take(bytes) {
            let message = "the gateway holds as many request bodies as it may: try again in a moment";
            return Err(Error::unavailable("overloaded", message));
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// A request body, whole.
#[derive(Debug)]
pub struct RequestBody {
    segments: Vec<Bytes>,
    content: Content,
    share: Share,
}

/// What a body was found to be.
#[derive(Debug)]
pub(crate) enum Content {
    /// A JSON object, with what matters of it.
    Json(Box<Peeked>),
    /// A multipart form, with what matters of it.
    Form(Box<Form>),
}

impl RequestBody {
    /// The body as it came, in pieces that share its memory.
    #[must_use]
    pub fn segments(&self) -> &[Bytes] {
        &self.segments
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.share.bytes
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What its JSON says at the top level; `None` on routes that take a form.
    #[must_use]
    pub fn json(&self) -> Option<&Peeked> {
        match &self.content {
            Content::Json(peeked) => Some(peeked),
            Content::Form(_) => None,
        }
    }

    /// What its form fields say; `None` on routes that take JSON.
    #[must_use]
    pub fn form(&self) -> Option<&Form> {
        match &self.content {
            Content::Form(form) => Some(form),
            Content::Json(_) => None,
        }
    }
}

/// What checks a body while it comes.
pub(crate) enum Judge {
    Json(Box<Peek>),
    Form(Box<FormReader>),
}

impl Judge {
    fn feed(&mut self, segment: &[u8]) -> Result<(), Error> {
        match self {
            Self::Json(peek) => peek.feed(segment).map_err(|e| Error::invalid(e.to_string())),
            Self::Form(form) => form.feed(segment).map_err(|e| Error::invalid(e.to_string())),
        }
    }

    fn finish(self) -> Result<Content, Error> {
        match self {
            Self::Json(peek) => {
                peek.finish().map(|p| Content::Json(Box::new(p))).map_err(|e| Error::invalid(e.to_string()))
            }
            Self::Form(form) => {
                form.finish().map(|f| Content::Form(Box::new(f))).map_err(|e| Error::invalid(e.to_string()))
            }
        }
    }
}

/// Reads a body to its end, judging each piece as it comes. `read` counts the bytes, also of a body that fails.
pub(crate) async fn read(
    incoming: IncomingBody,
    judge: Judge,
    declared: Option<u64>,
    limits: &BodyLimits,
    read: &mut u64,
) -> Result<RequestBody, Error> {
    if declared.is_some_and(|length| length > limits.max) {
        return Err(Error::too_large(limits.max));
    }
    let whole = read_segments(incoming, judge, limits, read);
    tokio::time::timeout(limits.deadline, whole).await.unwrap_or_else(|_| Err(Error::body_timeout()))
}

async fn read_segments(
    mut incoming: IncomingBody,
    mut judge: Judge,
    limits: &BodyLimits,
    read: &mut u64,
) -> Result<RequestBody, Error> {
    let mut segments = Vec::with_capacity(1);
    let mut share = Share { budget: Arc::clone(&limits.budget), bytes: 0 };
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| broken(&*error))?;
        // Trailers are dropped: nothing that came with them was judged.
        let Ok(segment) = frame.into_data() else { continue };
        let length = segment.len() as u64;
        *read += length;
        if *read > limits.max {
            return Err(Error::too_large(limits.max));
        }
        share.grow(length)?;
        judge.feed(&segment)?;
        segments.push(segment);
    }
    Ok(RequestBody { segments, content: judge.finish()?, share })
}

/// Why a body did not come to its end: it stalled, it was framed as no body is, or its sender is gone.
fn broken(error: &(dyn std::error::Error + 'static)) -> Error {
    use std::io::ErrorKind::{InvalidData, InvalidInput, TimedOut};
    let mut kinds = std::iter::successors(Some(error), |e| e.source())
        .filter_map(|e| e.downcast_ref::<std::io::Error>())
        .map(std::io::Error::kind);
    match kinds.find(|kind| matches!(kind, TimedOut | InvalidData | InvalidInput)) {
        Some(TimedOut) => Error::body_timeout(),
        Some(_) => Error::invalid("the request body is not framed as its transfer encoding says"),
        None => Error::client_gone(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind};

    use super::broken;
    use crate::Outcome;

    /// The server's own error around what the connection said, which it hands over as an `io::Error` again.
    #[derive(Debug, thiserror::Error)]
    #[error("error reading a body from connection")]
    struct Server(#[source] io::Error);

    #[test]
    fn a_dead_connection_is_told_from_bad_framing_and_from_a_stall() {
        let cases = [
            (ErrorKind::UnexpectedEof, 499, Outcome::ClientGone),
            (ErrorKind::ConnectionReset, 499, Outcome::ClientGone),
            (ErrorKind::BrokenPipe, 499, Outcome::ClientGone),
            (ErrorKind::InvalidInput, 400, Outcome::Replied),
            (ErrorKind::InvalidData, 400, Outcome::Replied),
            (ErrorKind::TimedOut, 408, Outcome::Replied),
        ];
        for (kind, status, outcome) in cases {
            let error = broken(&io::Error::other(Server(kind.into())));
            assert_eq!((error.status().as_u16(), error.ends_as()), (status, outcome), "{kind}");
        }
        assert_eq!(broken(&io::Error::other("the connection ended")).ends_as(), Outcome::ClientGone);
    }
}
