//! How much of the processor storing takes from those who answer clients.

use std::thread;
use std::time::{Duration, Instant};

/// How long storing records goes on before it gives way to other work on the same processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// None where it never gives way.
    go: Option<Duration>,
    is_last: bool,
}

impl Pace {
    /// It never gives way: it takes its fair share.
    pub const STEADY: Self = Self { go: None, is_last: false };

    /// It gives way as often as this. Where others leave nothing, little is stored: what waits must be watched.
    #[must_use]
    pub const fn by(go: Duration) -> Self {
        Self { go: Some(go), is_last: false }
    }

    /// Others do not only have their turn as often as that: where a store and its system can do it, everything else that
    /// could run goes first. For a few seconds, on a machine with nothing to spare, nothing may be stored.
    #[must_use]
    pub const fn behind_all_others(self) -> Self {
        Self { is_last: true, ..self }
    }

    /// Whether everything else goes first.
    #[must_use]
    pub const fn is_last(self) -> bool {
        self.is_last
    }
}

/// Gives way to others once in a while, in long work that nobody waits for.
///
/// A scheduler lets whoever has begun go on for milliseconds, and on a busy processor a request that is about to be
/// answered would wait for that long, where it takes a few dozen microseconds itself.
#[derive(Debug)]
pub struct Courtesy {
    /// How long it goes on, and since when it has; none where it never gives way.
    goes: Option<(Duration, Instant)>,
    rest: Option<Duration>,
    /// How long it goes on at least since it had to wait for long.
    least: Duration,
}

/// It works for a part of the time that it has waited for its next turn: where many want the processor all the time, giving
/// way at every opportunity would be never to get done.
const PART: u32 = 8;
/// Not of what it waits beside one who never stops, which is a slice of the scheduler or two: whoever is about to be answered
/// there would wait for all of that part.
const SLICES: Duration = Duration::from_millis(10);

impl Courtesy {
    /// For work that begins now.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { goes: pace.go.map(|go| (go, Instant::now())), rest: None, least: Duration::ZERO }
    }

    /// Sleeps for so long where others would only let whoever waits go first. Of several that give way, one would be the
    /// next of the other, and who waits to answer a client waits for all of them.
    #[must_use]
    pub fn resting(self, rest: Duration) -> Self {
        Self { rest: Some(rest), ..self }
    }

    /// Lets others go first, if it has worked for long enough. To be called every few microseconds.
    pub fn give_way(&mut self) {
        if let Some((go, since)) = &mut self.goes
            && since.elapsed() >= self.least.max(*go)
        {
            let gave = Instant::now();
            match self.rest {
                Some(rest) => thread::sleep(rest),
                None => thread::yield_now(),
            }
            *since = Instant::now();
            let waited = since.saturating_duration_since(gave);
            self.least = waited.saturating_sub(self.rest.unwrap_or_default() + SLICES) / PART;
        }
    }
}
