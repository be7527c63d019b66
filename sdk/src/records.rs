//! Where records go: a bounded writer that a filter asks for room before the request is admitted.

use std::{sync::Arc, time::Duration};

use crate::{Error, Record};

/// The gateway's record writer.
pub trait RecordSink: Send + Sync {
    /// Takes room for one record; `false` if there is none.
    fn admit(&self) -> bool;

    /// Takes a record for which there is room. Never blocks.
    fn submit(&self, record: Record);

    /// Gives the room back, unused.
    fn release(&self);

    /// Keeps records for this long; `None` keeps them for ever.
    fn keep_for(&self, retention: Option<Duration>);
}

impl dyn RecordSink {
    /// Room for the record of one request, or the refusal of that request: rather refused than unrecorded.
    pub fn ticket(self: &Arc<Self>) -> Result<Ticket, Error> {
        if self.admit() {
            return Ok(Ticket(Some(Arc::clone(self))));
        }
        let message = "the access log cannot take more records at the moment, and no request goes unrecorded";
        Err(Error::unavailable("log_unavailable", message).retry_after(5))
    }
}

/// Room for one record. Dropped unused, it gives the room back.
pub struct Ticket(Option<Arc<dyn RecordSink>>);

impl Ticket {
    /// Hands the record over.
    pub fn submit(mut self, record: Record) {
        if let Some(sink) = self.0.take() {
            sink.submit(record);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(sink) = self.0.take() {
            sink.release();
        }
    }
}

/// A sink that keeps nothing, for `check`.
#[derive(Debug)]
pub struct NoRecords;

impl RecordSink for NoRecords {
    fn admit(&self) -> bool {
        true
    }
    fn submit(&self, _record: Record) {}
    fn release(&self) {}
    fn keep_for(&self, _retention: Option<Duration>) {}
}
