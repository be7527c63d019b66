//! What can be changed while generations run.

use tokio::time::Duration;

use crate::options::Speed;

/// The state every running generation watches.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[allow(clippy::struct_excessive_bools)] // Each can be so by itself.
pub(crate) struct Control {
    pub(crate) speed: Speed,
    /// For each token of a prompt that is not in the prefix cache.
    pub(crate) prefill: Duration,
    /// Counts up; generations that began at a lower count end with `abort` (s01).
    pub(crate) aborts: u64,
    /// The engine process is gone (s03).
    pub(crate) dead: bool,
    /// Running requests finish, new ones are refused (s02).
    pub(crate) draining: bool,
    /// Nothing moves: `/sleep` or `/pause`.
    pub(crate) asleep: bool,
    pub(crate) paused: bool,
}

impl Control {
    /// Whether nothing moves.
    pub(crate) fn is_still(&self) -> bool {
        self.asleep || self.paused
    }
}
