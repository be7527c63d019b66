//! Connections that wait for their next use: of each thread its own, so that no thread waits for another, and since a
//! connection is bound to the runtime in which it was made.

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use crate::connection::Connection;

/// vLLM closes connections that were idle for 5 s: leave earlier than it does.
const IDLE: Duration = Duration::from_millis(3500);

/// The idle connections of one server.
#[derive(Debug)]
pub(crate) struct Pool {
    shards: Box<[Shard]>,
}

/// What one thread has put aside. In a cache line of its own: the lock is taken by nobody else but whoever tidies.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(Mutex<Vec<Idle>>);

#[derive(Debug)]
struct Idle {
    /// Of which thread: two may share a shard where there are more threads than processors.
    thread: usize,
    since: Instant,
    connection: Connection,
}

impl Default for Pool {
    fn default() -> Self {
        static PROCESSORS: OnceLock<usize> = OnceLock::new();
        let count = *PROCESSORS.get_or_init(|| std::thread::available_parallelism().map_or(1, Into::into));
        Self { shards: (0..=count).map(|_| Shard::default()).collect() }
    }
}

impl Pool {
    /// The connection that was used last, if it can still be used.
    pub(crate) fn take(&self) -> Option<Connection> {
        let thread = vllm_gateway_stripes::number();
        loop {
            let mut idle = self.shard(thread);
            let newest = idle.iter().rposition(|one| one.thread == thread)?;
            let Idle { since, mut connection, .. } = idle.remove(newest);
            if since.elapsed() > IDLE {
                // The others are older still.
                idle.retain(|one| one.thread != thread);
                return None;
            }
            drop(idle);
            if connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    /// Puts a connection aside, unless so many wait already.
    pub(crate) fn put(&self, mut connection: Connection, most: usize) {
        connection.rest();
        let thread = vllm_gateway_stripes::number();
        let mut idle = self.shard(thread);
        if idle.len() < most.div_ceil(self.shards.len() - 1) {
            idle.push(Idle { thread, since: Instant::now(), connection });
        }
    }

    pub(crate) fn tidy(&self) {
        for at in 0..self.shards.len() {
            self.shard(at).retain(|one| one.since.elapsed() <= IDLE);
        }
    }

    pub(crate) fn len(&self) -> usize {
        (0..self.shards.len()).map(|at| self.shard(at).len()).sum()
    }

    fn shard(&self, thread: usize) -> MutexGuard<'_, Vec<Idle>> {
        let Shard(idle) = &self.shards[thread % self.shards.len()];
        idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
