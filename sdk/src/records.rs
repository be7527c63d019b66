//! Where records go: a sink that is asked for room before the request is admitted, and keeps what it has taken.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use crate::{Error, Facts, Outcome};

/// How long a request waits for room that is being made: longer than a disk takes to make a file on a bad day.
const PATIENCE: Duration = Duration::from_secs(5);

/// The gateway's record keeper. No call waits for a disk or a store.
pub trait RecordSink: Send + Sync {
    /// Takes room for one record; none if there is none.
    fn admit(&self) -> Option<Room>;

    /// Ends when there may be more room than there was when this was called. None if nobody is making any: what may
    /// be kept is used up, or the disk takes no more.
    fn more_room(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> {
        None
    }

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
    ///
    /// Waits only where all room is taken and more is being made; then for five seconds at most.
    pub async fn ticket(self: &Arc<Self>) -> Result<Ticket, Error> {
        match self.admit() {
            Some(room) => Ok(self.ticket_for(room)),
            None => self.ticket_in_time().await,
        }
    }

    async fn ticket_in_time(self: &Arc<Self>) -> Result<Ticket, Error> {
        let deadline = Instant::now() + PATIENCE;
        // Asked for before the next look, so that room which is made in between is not slept through.
        while let Some(more) = self.more_room() {
            if let Some(room) = self.admit() {
                return Ok(self.ticket_for(room));
            }
            if timeout_at(deadline, more).await.is_err() {
                break;
            }
        }
        Err(no_room())
    }

    fn ticket_for(self: &Arc<Self>, room: Room) -> Ticket {
        Ticket(Some((Arc::clone(self), room)))
    }
}

fn no_room() -> Error {
    let message = "the access log cannot take more records at the moment, and no request goes unrecorded";
    Error::unavailable("log_unavailable", message).retry_after(5)
}

/// Room for one record. Dropped unused, it gives the room back.
pub struct Ticket(Option<(Arc<dyn RecordSink>, Room)>);

impl Ticket {
    /// Room for one more record in the same place, as for a copy of the request. Never waits.
    pub fn another(&self) -> Result<Self, Error> {
        let (sink, _) = self.0.as_ref().ok_or_else(no_room)?;
        Ok(sink.ticket_for(sink.admit().ok_or_else(no_room)?))
    }

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use super::*;

    /// So much room is left.
    struct Narrow(AtomicU64);

    impl RecordSink for Narrow {
        fn admit(&self) -> Option<Room> {
            self.0.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).ok().map(Room)
        }
        fn open(&self, _room: &mut Room, _facts: &Facts) {}
        fn checkpoint(&self, _room: &mut Room, _facts: &Facts) {}
        fn close(&self, _room: Room, _facts: &Facts, _outcome: Outcome) {}
        fn release(&self, _room: Room) {
            self.0.fetch_add(1, SeqCst);
        }
        fn keep_for(&self, _retention: Option<Duration>) {}
    }

    #[tokio::test]
    async fn a_copy_takes_room_where_there_is_any_and_gives_it_back() {
        let sink: Arc<dyn RecordSink> = Arc::new(Narrow(AtomicU64::new(2)));
        let ticket = sink.ticket().await.unwrap();
        let another = ticket.another().unwrap();
        assert_eq!(ticket.another().err().unwrap().code().unwrap(), "log_unavailable");
        drop(another);
        assert!(ticket.another().is_ok());
    }
}
