//! The gateway's own end, as far as it has come: what waits in silence looks here now and then.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

const SERVING: u8 = 0;
const DRAINING: u8 = 1;
const CUT: u8 = 2;

/// How soon whatever waits is to notice that it is cut off. Who cuts off waits for twice that.
const SOON: Duration = Duration::from_millis(500);

/// Whether the gateway serves, drains, or cuts off what still runs.
///
/// There is no way to be woken by it: that would be a place that all requests share, for something that happens once.
#[derive(Debug)]
pub struct Ending {
    stage: AtomicU8,
    grace: Duration,
}

impl Ending {
    /// Of a gateway that serves, and will drain for so long.
    #[must_use]
    pub const fn new(grace: Duration) -> Self {
        Self { stage: AtomicU8::new(SERVING), grace }
    }

    /// How long the draining may take.
    #[must_use]
    pub const fn grace(&self) -> Duration {
        self.grace
    }

    /// The draining begins.
    pub fn begin(&self) {
        self.stage.fetch_max(DRAINING, Ordering::SeqCst);
    }

    /// What still runs is cut off from now on.
    pub fn cut(&self) {
        self.stage.fetch_max(CUT, Ordering::SeqCst);
    }

    /// Whether the draining has begun.
    pub fn has_begun(&self) -> bool {
        // In one order with the count of what runs: whoever ends after the last look at it must see that it is waited for.
        self.stage.load(Ordering::SeqCst) >= DRAINING
    }

    /// Whether what still runs is cut off.
    pub fn is_cut(&self) -> bool {
        self.stage.load(Ordering::Relaxed) >= CUT
    }

    /// After how long somebody who waits has to look again, so that a cut does not pass unseen: seldom while the gateway
    /// serves, since it drains first.
    pub fn look(&self) -> Duration {
        if self.has_begun() { SOON } else { SOON.max(self.grace / 2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_as_often_as_told_sees_a_cut_in_time() {
        for grace in [Duration::ZERO, Duration::from_millis(700), Duration::from_secs(30)] {
            let ending = Ending::new(grace);
            let (begun, cut) = (Duration::from_secs(100), Duration::from_secs(100) + grace);
            let mut now = Duration::from_millis(37);
            while now < cut {
                if now >= begun {
                    ending.begin();
                }
                now += ending.look();
            }
            assert!(now <= cut + SOON, "{grace:?}: seen at {now:?}");
        }
    }

    #[test]
    fn a_cut_is_never_taken_back() {
        let ending = Ending::new(Duration::ZERO);
        assert!(!ending.has_begun() && !ending.is_cut());
        ending.cut();
        ending.begin();
        assert!(ending.has_begun() && ending.is_cut());
    }
}
