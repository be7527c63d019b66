//! Computing prompts: one after another, so that prompts which come at once wait for each other.
//!
//! A real engine puts prompts into one batch up to a number of tokens; for long ones that is one at a time, too.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Duration, Instant};

/// Who computes a prompt, and who is next. Holds when the last one was done.
#[derive(Debug, Clone)]
pub(crate) struct Prefill(Arc<Mutex<Instant>>);

/// The one whose prompt is computed; dropping it lets the next one begin.
#[derive(Debug)]
pub(crate) struct Turn {
    last: OwnedMutexGuard<Instant>,
    done: Option<Instant>,
}

impl Prefill {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Waits for the turn, in the order of asking.
    pub(crate) async fn turn(&self) -> Turn {
        Turn { last: self.0.clone().lock_owned().await, done: None }
    }
}

impl Turn {
    /// When the work began that was asked for then: that timers are late adds up to nothing where many wait.
    pub(crate) fn began(&self, asked: Instant) -> Instant {
        asked.max(*self.last)
    }

    pub(crate) fn done(mut self, at: Instant) {
        self.done = Some(at);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Who leaves in the middle has used the engine until now.
        *self.last = self.done.unwrap_or_else(Instant::now);
    }
}

/// Work that goes on at a pace which may change meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    tokens: f64,
    since: Instant,
}

impl Work {
    pub(crate) fn new(tokens: usize, since: Instant) -> Self {
        Self { tokens: f64::from(u32::try_from(tokens).unwrap_or(u32::MAX)), since }
    }

    /// When it is done, if it goes on like this.
    pub(crate) fn due(&self, per_token: Duration) -> Instant {
        self.since + per_token.mul_f64(self.tokens)
    }

    /// Notes what was done until now at this pace; at none, nothing was.
    pub(crate) fn note(&mut self, per_token: Option<Duration>) {
        let now = Instant::now();
        if let Some(per_token) = per_token.filter(|per_token| !per_token.is_zero()) {
            let done = now.saturating_duration_since(self.since).div_duration_f64(per_token);
            self.tokens = (self.tokens - done).max(0.0);
        }
        self.since = now;
    }
}
