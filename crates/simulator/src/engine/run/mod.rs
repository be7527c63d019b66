//! One generation in the engine: admitted, scheduled, paced, and ended exactly once.

mod pace;
mod schedule;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::watch;
use tokio::time::{Duration, Instant, timeout};

use super::Control;
use super::prefix_cache::Held;
use super::seats::Seat;
use crate::error::{ApiError, ENGINE_DIED};
use crate::http1::{Interrupt, Wire};
use crate::ledger::{End, Live};
use crate::shared::Shared;
use crate::text::Random;

/// What the next moment brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pulse {
    /// A token.
    Token,
    /// The end: everything running is aborted.
    Abort,
    /// The end: the engine died.
    Died,
}

/// A generation. Dropping it before its end means that the client left.
pub(crate) struct Run {
    shared: Arc<Shared>,
    pub(crate) live: Arc<Live>,
    watch: watch::Receiver<Control>,
    control: Control,
    hang_ups: watch::Receiver<u64>,
    aborts: u64,
    sequences: usize,
    seat: Option<Seat>,
    held: Option<Held>,
    /// Whether it runs, where before it waited.
    scheduled: bool,
    pace: Random,
    asked: Instant,
    seated: Instant,
    last: Instant,
    first_token: Option<Instant>,
    held_tokens: usize,
}

impl Run {
    /// Admits a request of so many sequences, or says why not.
    pub(crate) fn admit(
        shared: &Arc<Shared>,
        live: impl FnOnce() -> Arc<Live>,
        sequences: usize,
    ) -> Result<Self, ApiError> {
        let mut watch = shared.control.subscribe();
        let control = *watch.borrow_and_update();
        if control.dead {
            return Err(ApiError::internal(ENGINE_DIED));
        }
        if control.draining {
            return Err(ApiError::internal("cannot schedule new futures after shutdown"));
        }
        let before = shared.metrics.active.fetch_add(1, Relaxed);
        if shared.options.max_num_queued_reqs.is_some_and(|limit| before >= limit) {
            shared.metrics.active.fetch_sub(1, Relaxed);
            shared.metrics.rejected.fetch_add(1, Relaxed);
            return Err(ApiError::busy());
        }
        shared.metrics.waiting.fetch_add(1, Relaxed);
        let now = Instant::now();
        let run = Self {
            live: live(),
            watch,
            control,
            hang_ups: shared.hang_ups.subscribe(),
            aborts: control.aborts,
            sequences,
            seat: None,
            held: None,
            scheduled: false,
            pace: Random::new(shared.next_random()),
            asked: now,
            seated: now,
            last: now,
            first_token: None,
            held_tokens: 0,
            shared: shared.clone(),
        };
        shared.changed.notify_waiters();
        Ok(run)
    }

    /// Takes note of changes; the end if there is one.
    fn look(&mut self) -> Option<Pulse> {
        let speed = self.control.speed;
        self.control = *self.watch.borrow_and_update();
        if self.control.speed != speed || self.control.is_still() {
            // Nothing is made up for: the new speed counts from now.
            self.last = Instant::now();
        }
        if self.control.dead {
            return Some(Pulse::Died);
        }
        (self.control.aborts != self.aborts).then_some(Pulse::Abort)
    }

    /// Counts tokens that were generated.
    pub(crate) fn generated(&mut self, tokens: usize) {
        self.live.add(tokens);
        self.shared.metrics.generation_tokens.fetch_add(tokens, Relaxed);
        self.hold(tokens);
        if let Some(held) = &mut self.held {
            held.grow(tokens);
        }
    }

    /// Counts tokens that stand in the KV cache.
    pub(crate) fn hold(&mut self, tokens: usize) {
        self.held_tokens += tokens;
        self.shared.metrics.cached_tokens.fetch_add(tokens, Relaxed);
    }

    /// Queue time, time to the first token and time since, in milliseconds.
    pub(crate) fn times(&self) -> (f64, f64, f64) {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        let first = self.first_token.unwrap_or(self.seated);
        (
            milliseconds(self.seated - self.asked),
            milliseconds(first - self.asked),
            milliseconds(first.elapsed()),
        )
    }

    /// Ends it: the first end counts.
    pub(crate) fn end(&self, end: End) {
        let reason = if let End::Finished(reason) = end { Some(reason) } else { None };
        if self.live.end(end) {
            self.shared.metrics.ended(reason);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let hung_up = self.hang_ups.has_changed().unwrap_or(true);
        self.end(if hung_up { End::HungUp } else { End::ClientLeft });
        let metrics = &self.shared.metrics;
        metrics.cached_tokens.fetch_sub(self.held_tokens, Relaxed);
        let state = if self.scheduled { &metrics.running } else { &metrics.waiting };
        state.fetch_sub(1, Relaxed);
        metrics.active.fetch_sub(1, Relaxed);
        self.shared.changed.notify_waiters();
    }
}

/// Waits for something; meanwhile a stream carries comments, if the server was told to send them.
pub(crate) async fn with_comments<T>(
    wire: &mut Wire<'_>,
    every: Option<Duration>,
    waiting: impl Future<Output = T>,
) -> Result<T, Interrupt> {
    let Some(every) = every.filter(|_| wire.is_streaming()) else { return Ok(waiting.await) };
    let mut waiting = pin!(waiting);
    loop {
        match timeout(every, &mut waiting).await {
            Ok(done) => return Ok(done),
            Err(_) => {
                wire.comment("keep-alive");
                wire.flush().await?;
            }
        }
    }
}
