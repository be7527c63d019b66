//! Copies of requests that run for mirrors: how many there may be, and how they end with the gateway.
//!
//! What they take is apart from what requests take, so that a mirror which hangs costs no client anything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use vllm_gateway_sdk::Ending;

use super::{Drain, Running};
use crate::descriptors::division;

/// The part of a limit that copies may take: one in so many.
const PART: u64 = 8;

/// The copies that run. Outlives reloads, and so do they.
pub(crate) struct Copies {
    drain: Arc<Drain>,
    cut: CancellationToken,
    /// How many may run: each has a connection.
    most: u64,
    /// Bytes of bodies that are kept until an upstream has begun its answer, and the most there may be.
    bytes: AtomicU64,
    most_bytes: u64,
}

impl Copies {
    /// None yet, of a gateway whose requests may have so many bytes of bodies.
    pub(crate) fn new(body_memory: u64) -> Self {
        let most = u64::try_from(division().shared).unwrap_or(u64::MAX) / PART;
        Self {
            drain: Arc::new(Drain::new(Arc::new(Ending::new(Duration::ZERO)))),
            cut: CancellationToken::new(),
            most: most.max(1),
            bytes: AtomicU64::new(0),
            most_bytes: body_memory / PART,
        }
    }

    /// Room for one more, whose body has so many bytes, if there is any.
    pub(crate) fn room(self: &Arc<Self>, bytes: u64) -> Option<Room> {
        if self.cut.is_cancelled() {
            return None;
        }
        // Made first, so that it gives back what it has taken in vain.
        let room = Room { running: self.drain.enter(), copies: Arc::clone(self), bytes };
        let before = self.bytes.fetch_add(bytes, Relaxed);
        let fits = self.drain.running() <= self.most && before.saturating_add(bytes) <= self.most_bytes;
        fits.then_some(room)
    }

    /// Cuts off those that run, and has no room for others: nobody waits for their answers.
    pub(crate) fn cut(&self) {
        self.drain.ending().begin();
        self.cut.cancel();
    }

    /// Waits until those that were cut off have closed their books, but not longer than this.
    pub(crate) async fn ended(&self, most: Duration) {
        self.drain.wait(most).await;
    }
}

/// What a copy takes as long as it runs.
pub(crate) struct Room {
    copies: Arc<Copies>,
    /// Bytes of its body.
    bytes: u64,
    /// Given back last: what is waited for at the end has then given back the rest.
    #[allow(dead_code, reason = "it counts until it is dropped")]
    running: Running,
}

impl Room {
    /// Tells when the copy is to be cut off.
    pub(crate) fn cut(&self) -> CancellationToken {
        self.copies.cut.clone()
    }

    /// Its body is needed no longer.
    pub(crate) fn let_body_go(&mut self) {
        self.copies.bytes.fetch_sub(std::mem::take(&mut self.bytes), Relaxed);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.let_body_go();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bodies_take_an_eighth_and_give_it_back() {
        let copies = Arc::new(Copies::new(800));
        let mut first = copies.room(60).unwrap();
        assert!(copies.room(41).is_none());
        let second = copies.room(40).unwrap();
        assert_eq!((copies.drain.running(), copies.bytes.load(Relaxed)), (2, 100));
        first.let_body_go();
        first.let_body_go();
        assert!(copies.room(61).is_none() && copies.room(60).is_some());
        drop((first, second));
        assert_eq!((copies.drain.running(), copies.bytes.load(Relaxed)), (0, 0));
    }

    #[tokio::test]
    async fn once_they_are_cut_there_is_no_room_and_those_that_run_are_waited_for() {
        let copies = Arc::new(Copies::new(800));
        let room = copies.room(1).unwrap();
        copies.cut();
        assert!(room.cut().is_cancelled());
        assert!(copies.room(1).is_none());
        let ends = tokio::spawn(async move { drop(room) });
        copies.ended(Duration::from_secs(10)).await;
        assert_eq!(copies.drain.running(), 0);
        ends.await.unwrap();
    }
}
