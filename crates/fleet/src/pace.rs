//! How long a server takes to begin an answer, for what it has to read first: learned from streams, whose first event comes
//! once the prompt is computed.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use crate::Moment;

/// What is known of a server's pace. Whoever writes at the same time may lose a sample, which does no harm.
#[derive(Debug, Default)]
pub struct Pace {
    /// Bytes of requests whose answers have not begun.
    pending: AtomicU64,
    /// Nanoseconds a byte, on a moving average; 0 is not known.
    average: AtomicU32,
    /// When that was.
    at: AtomicU64,
}

/// A request whose answer has not begun.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    bytes: u32,
    /// Bytes that were pending before, and these.
    ahead: u64,
    at: Instant,
}

impl Pace {
    /// Longer ago than this, it may have become another one.
    const FRESH: Duration = Duration::from_secs(10);
    /// How much one sample counts for.
    const SHARE: f32 = 0.2;

    /// A request of so many bytes goes there.
    pub fn start(&self, bytes: u32) -> Start {
        let ahead = self.pending.fetch_add(bytes.into(), Relaxed).saturating_add(bytes.into());
        Start { bytes, ahead, at: Instant::now() }
    }

    /// Its answer has begun, or will not; `is_sample` says that this tells how long the prompt took.
    pub fn began(&self, start: &Start, is_sample: bool) {
        self.pending.fetch_sub(start.bytes.into(), Relaxed);
        if !is_sample {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let sample = start.at.elapsed().as_nanos() as f32 / start.ahead.max(1) as f32;
        let before = f32::from_bits(self.average.load(Relaxed));
        let pace = if before > 0.0 { before + (sample - before) * Self::SHARE } else { sample };
        self.average.store(pace.to_bits(), Relaxed);
        self.at.store(Moment::now().get(), Relaxed);
    }

    /// Nanoseconds a byte, unless that is not known or long ago.
    pub(crate) fn latest(&self, now: Moment) -> Option<f32> {
        let at = Moment::from_raw(self.at.load(Relaxed))?;
        (now.since(at) < Self::FRESH).then(|| f32::from_bits(self.average.load(Relaxed)))
    }

    /// Bytes that it has before it.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(crate) fn pending(&self) -> f32 {
        self.pending.load(Relaxed) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_is_known_for_a_while_and_what_has_begun_is_not_pending() {
        let pace = Pace::default();
        let starts = [pace.start(1000), pace.start(3000)];
        assert_eq!((starts[1].ahead, pace.latest(Moment::now())), (4000, None));
        pace.began(&starts[0], false);
        assert_eq!(
            (pace.pending.load(Relaxed), pace.latest(Moment::now())),
            (3000, None),
            "that was no sample"
        );
        pace.began(&starts[1], true);
        assert!(pace.latest(Moment::now()).is_some_and(|pace| pace > 0.0));
        assert_eq!(pace.latest(Moment::now() + Pace::FRESH), None);
        assert_eq!(pace.pending.load(Relaxed), 0);
    }
}
