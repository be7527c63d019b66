//! One generation in the engine: admitted, seated, paced, and ended exactly once.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until, timeout};

use super::Control;
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

    /// Waits for a seat.
    pub(crate) async fn seat(&mut self) -> Pulse {
        let seats = self.shared.seats.clone();
        let mut taking = pin!(seats.take(self.sequences));
        loop {
            tokio::select! {
                biased;
                seat = &mut taking => {
                    self.seat = Some(seat);
                    break;
                }
                _ = self.watch.changed() => {
                    if let Some(end) = self.look() {
                        return end;
                    }
                }
            }
        }
        self.shared.metrics.waiting.fetch_sub(1, Relaxed);
        self.shared.metrics.running.fetch_add(1, Relaxed);
        self.seated = Instant::now();
        self.last = self.seated;
        Pulse::Token
    }

    /// Takes note of changes; the end if there is one.
    fn look(&mut self) -> Option<Pulse> {
        let speed = self.control.speed;
        self.control = *self.watch.borrow_and_update();
        if self.control.speed != speed || self.control.asleep || self.control.paused {
            // Nothing is made up for: the new speed counts from now.
            self.last = Instant::now();
        }
        if self.control.dead {
            return Some(Pulse::Died);
        }
        (self.control.aborts != self.aborts).then_some(Pulse::Abort)
    }

    /// Whether the next token is there already, so that nothing needs to be flushed before it.
    pub(crate) fn is_due(&self, tokens: u32) -> bool {
        let still = self.control.asleep || self.control.paused;
        let gap = self.gap(f64::from(tokens.max(1)));
        !still
            && !self.watch.has_changed().unwrap_or(false)
            && (gap.is_zero() || self.last + gap <= Instant::now())
    }

    fn gap(&self, factor: f64) -> Duration {
        let speed = self.control.speed;
        if self.first_token.is_none() { speed.ttft } else { speed.itl.mul_f64(factor) }
    }

    /// Waits until the next `tokens` are due. Late ones do not delay those after them.
    pub(crate) async fn tick(&mut self, tokens: u32) -> Pulse {
        let jitter = self.control.speed.jitter.clamp(0.0, 1.0);
        let factor = if jitter > 0.0 { 1.0 + jitter * self.pace.signed() } else { 1.0 };
        let factor = factor * f64::from(tokens.max(1));
        loop {
            if self.watch.has_changed().unwrap_or(false)
                && let Some(end) = self.look()
            {
                return end;
            }
            if self.control.asleep || self.control.paused {
                if self.watch.changed().await.is_err() {
                    return Pulse::Abort;
                }
                self.last = Instant::now();
                if let Some(end) = self.look() {
                    return end;
                }
                continue;
            }
            let gap = self.gap(factor);
            if gap.is_zero() {
                break;
            }
            let due = self.last + gap;
            if due > Instant::now() {
                tokio::select! {
                    () = sleep_until(due) => {}
                    _ = self.watch.changed() => {
                        if let Some(end) = self.look() {
                            return end;
                        }
                        continue;
                    }
                }
            }
            self.last = due;
            break;
        }
        if self.first_token.is_none() {
            let now = Instant::now();
            self.first_token = Some(now);
            self.last = self.last.max(now);
        }
        Pulse::Token
    }

    /// Counts tokens that were generated.
    pub(crate) fn generated(&mut self, tokens: usize) {
        self.live.add(tokens);
        self.shared.metrics.generation_tokens.fetch_add(tokens, Relaxed);
        self.hold(tokens);
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
        let state = if self.seat.is_some() { &metrics.running } else { &metrics.waiting };
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
