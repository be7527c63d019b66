//! How many sequences run at once (`--max-num-seqs`), first come first served; it can change meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The seats of the engine.
#[derive(Debug)]
pub(crate) struct Seats {
    free: Arc<Semaphore>,
    total: Mutex<usize>,
    /// Seats to take away as soon as somebody leaves one.
    owed: AtomicUsize,
}

/// Taken seats; dropping it leaves them.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Seats {
    pub(crate) fn new(total: usize) -> Self {
        let total = total.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(total)), total: Mutex::new(total), owed: AtomicUsize::new(0) }
    }

    /// Waits for seats for so many sequences; a request that needs more than there are takes them all.
    pub(crate) async fn take(self: &Arc<Self>, sequences: usize) -> Seat {
        let total = *self.total.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = u32::try_from(sequences.clamp(1, total)).unwrap_or(u32::MAX);
        // The semaphore is never closed; if it were, running at once is the harmless answer.
        let permit = self.free.clone().acquire_many_owned(wanted).await.ok();
        Seat { seats: self.clone(), permit }
    }

    /// Changes how many there are. Running generations keep theirs.
    pub(crate) fn resize(&self, wanted: usize) {
        let wanted = wanted.clamp(1, Semaphore::MAX_PERMITS);
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted >= *total {
            let more = wanted - *total;
            let owed = self.owed.load(Ordering::Relaxed).min(more);
            self.owed.fetch_sub(owed, Ordering::Relaxed);
            self.free.add_permits(more - owed);
        } else {
            let fewer = *total - wanted;
            let taken = self.free.forget_permits(fewer);
            self.owed.fetch_add(fewer - taken, Ordering::Relaxed);
        }
        *total = wanted;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Under the lock of `resize`, so that what is owed is paid once.
        let _total = self.seats.total.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut permit) = self.permit.take() else { return };
        let pay = self.seats.owed.load(Ordering::Relaxed).min(permit.num_permits());
        if let Some(paid) = permit.split(pay) {
            self.seats.owed.fetch_sub(pay, Ordering::Relaxed);
            paid.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn seats_taken_away_while_taken_are_gone_once_left() {
        let seats = Arc::new(Seats::new(4));
        let taken = seats.take(3).await;
        seats.resize(2);
        assert_eq!(seats.free.available_permits(), 0);
        drop(taken);
        assert_eq!(seats.free.available_permits(), 2);
        seats.resize(5);
        assert_eq!(seats.free.available_permits(), 5);
    }

    #[tokio::test]
    async fn a_request_larger_than_the_engine_takes_all_of_it() {
        let seats = Arc::new(Seats::new(2));
        let taken = seats.take(9).await;
        assert_eq!(seats.free.available_permits(), 0);
        drop(taken);
        assert_eq!(seats.free.available_permits(), 2);
    }

    #[tokio::test]
    async fn growing_again_forgives_what_is_owed() {
        let seats = Arc::new(Seats::new(2));
        let taken = seats.take(2).await;
        seats.resize(1);
        seats.resize(2);
        drop(taken);
        assert_eq!(seats.free.available_permits(), 2);
    }
}
