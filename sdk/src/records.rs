//! Where records go: a sink that is asked for room before the request is admitted, and keeps what it has taken.

use std::{sync::Arc, time::Duration};

use crate::{Error, Facts, Outcome};

/// The gateway's record keeper. No call waits for a disk or a store.
pub trait RecordSink: Send + Sync {
    /// Takes room for one record; none if there is none.
    fn admit(&self) -> Option<Room>;

    /// An upstream is about to be called: from here on the record outlives the process, and is `interrupted` if
    /// nothing follows.
    fn open(&self, room: &mut Room, facts: &Facts);

    /// How far an open record has come.
    fn checkpoint(&self, room: &mut Room, facts: &Facts);

    /// How it ended. The record is kept from here on, and the room with it.
    fn close(&self, room: Room, facts: &Facts, outcome: Outcome);

    /// Gives the room back; nothing is kept of what was in it.
    fn release(&self, room: Room);

    /// Keeps records for this long; `None` keeps them for ever.
    fn keep_for(&self, retention: Option<Duration>);
}

/// Room that a sink has taken for one record. Only the sink knows what the number means.
#[derive(Debug)]
pub struct Room(pub u64);

impl dyn RecordSink {
    /// Room for the record of one request, or the refusal of that request: rather refused than unrecorded.
    pub fn ticket(self: &Arc<Self>) -> Result<Ticket, Error> {
        if let Some(room) = self.admit() {
            return Ok(Ticket(Some((Arc::clone(self), room))));
        }
        let message = "the access log cannot take more records at the moment, and no request goes unrecorded";
        Err(Error::unavailable("log_unavailable", message).retry_after(5))
    }
}

/// Room for one record. Dropped unused, it gives the room back.
pub struct Ticket(Option<(Arc<dyn RecordSink>, Room)>);

impl Ticket {
    /// An upstream is about to be called.
    pub fn open(&mut self, facts: &Facts) {
        if let Some((sink, room)) = &mut self.0 {
            sink.open(room, facts);
        }
    }

    /// Some more of the answer is about to go out.
    pub fn checkpoint(&mut self, facts: &Facts) {
        if let Some((sink, room)) = &mut self.0 {
            sink.checkpoint(room, facts);
        }
    }

    /// The exchange has ended so. The first word counts.
    pub fn close(&mut self, facts: &Facts, outcome: Outcome) {
        if let Some((sink, room)) = self.0.take() {
            sink.close(room, facts, outcome);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some((sink, room)) = self.0.take() {
            sink.release(room);
        }
    }
}

/// A sink that keeps nothing, for `check`.
#[derive(Debug)]
pub struct NoRecords;

impl RecordSink for NoRecords {
    fn admit(&self) -> Option<Room> {
        Some(Room(0))
    }
    fn open(&self, _room: &mut Room, _facts: &Facts) {}
    fn checkpoint(&self, _room: &mut Room, _facts: &Facts) {}
    fn close(&self, _room: Room, _facts: &Facts, _outcome: Outcome) {}
    fn release(&self, _room: Room) {}
    fn keep_for(&self, _retention: Option<Duration>) {}
}
