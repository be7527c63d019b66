//! Values that many threads change with every request, and few read: each thread that serves clients has its own.
//!
//! Two processors that write to one line of memory in turns wait for each other as if there were a lock: some fifty
//! nanoseconds each time, where a line that nobody else writes to takes one. A request changes a few dozen counters.

use std::{
    cell::Cell,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// Where there are more threads than this, some share: each stripe is memory for every counter.
const MOST: usize = 8;

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// Gives the calling thread a number that no other has. For threads that serve clients; all others have 0.
pub fn claim_number() {
    static THREADS: AtomicUsize = AtomicUsize::new(1);
    NUMBER.set(THREADS.fetch_add(1, Relaxed));
}

/// The number of the calling thread.
#[must_use]
pub fn number() -> usize {
    NUMBER.get()
}

/// One value for each thread that serves clients, and one for all other threads.
#[derive(Debug)]
pub struct Stripes<T>(Box<[Line<T>]>);

/// A line of memory of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line<T>(T);

impl<T: Default> Default for Stripes<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

impl<T> Stripes<T> {
    /// Values that begin so.
    pub fn new(mut make: impl FnMut() -> T) -> Self {
        static COUNT: OnceLock<usize> = OnceLock::new();
        let processors = || std::thread::available_parallelism().map_or(1, Into::into);
        let count = *COUNT.get_or_init(|| 1 + MOST.min(processors()));
        Self((0..count).map(|_| Line(make())).collect())
    }

    /// The calling thread's own.
    #[must_use]
    pub fn own(&self) -> &T {
        // The threads that serve clients are numbered from 1, and begin anew behind the last stripe; 0 is the others'.
        let others = self.0.len() - 1;
        let at = number().checked_sub(1).map_or(0, |number| 1 + number % others);
        &self.0[at].0
    }

    /// Those of all threads.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|line| &line.0)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        ptr,
        sync::atomic::{AtomicU64, Ordering::Relaxed},
        thread,
    };

    use super::*;

    #[test]
    fn what_all_threads_count_is_there_in_the_end() {
        let counters = Stripes::<AtomicU64>::default();
        thread::scope(|scope| {
            for serves in [true, false].repeat(10) {
                let counters = &counters;
                scope.spawn(move || {
                    if serves {
                        claim_number();
                    }
                    for _ in 0..1_000 {
                        counters.own().fetch_add(1, Relaxed);
                    }
                });
            }
        });
        assert_eq!(counters.iter().map(|counter| counter.load(Relaxed)).sum::<u64>(), 20_000);
    }

    #[test]
    fn a_thread_that_serves_has_a_line_of_memory_that_other_threads_do_not_write_to() {
        let counters = Stripes::<AtomicU64>::default();
        let address = || ptr::from_ref(counters.own()) as usize;
        let of_others = address();
        let own = thread::scope(|scope| {
            let serving = scope.spawn(|| {
                claim_number();
                address()
            });
            serving.join()
        });
        assert!(own.is_ok_and(|own| own.abs_diff(of_others) >= 64));
    }
}
