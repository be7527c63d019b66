//! Whether a server can be asked: what requests met there, what it says when it is looked at, what an operator decided.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::Moment;

/// How much is put up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// After so many failures in a row, requests go elsewhere.
    pub failures: u32,
    /// For how long at first; twice as long each time that it happens again.
    pub base: Duration,
    /// The longest that this becomes.
    pub most: Duration,
    /// How long it takes a server that comes back to get its whole share.
    pub return_over: Duration,
    /// After so many looks in a row that found it unwell, it is down.
    pub looks: u32,
    /// What is done about a server that sleeps.
    pub sleepers: Sleepers,
}

/// What is done about a server that sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleepers {
    /// Nothing: it is asked.
    Ignored,
    /// It is not asked.
    Avoided,
    /// It is woken where no other can be asked.
    Woken,
}

/// What a server is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is asked.
    Up,
    /// It is asked more and more.
    Returning,
    /// It takes no further requests for a moment, as it said itself.
    Full,
    /// Requests failed there.
    Ejected,
    /// It was found unwell.
    Down,
    /// It sleeps, and would have to be woken.
    Asleep,
    /// An operator keeps requests away.
    Drained,
}

impl State {
    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Returning => "returning",
            Self::Full => "full",
            Self::Ejected => "ejected",
            Self::Down => "down",
            Self::Asleep => "asleep",
            Self::Drained => "drained",
        }
    }
}

/// What a failure led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was counted.
    Counted,
    /// Requests go elsewhere for so long.
    Ejected(Duration),
}

/// The health of one server. Reading it takes no lock.
#[derive(Debug, Default)]
pub struct Health {
    failures: AtomicU32,
    /// Until when requests go elsewhere; 0 is not at all.
    ejected: AtomicU64,
    /// Until when it takes no further requests.
    full: AtomicU64,
    /// Since when it is coming back; 0 once it is.
    returning: AtomicU64,
    /// It has generated something since somebody asked, and something has failed there.
    generated: AtomicBool,
    troubled: AtomicBool,
    looks: AtomicU32,
    down: AtomicBool,
    asleep: AtomicBool,
    ejections: Mutex<Ejections>,
}

/// How often it was ejected, for how long the last time, and when that ended.
#[derive(Debug, Default)]
struct Ejections {
    last: Duration,
    ended: Option<Moment>,
}

impl Health {
    /// A request was served, for which something was `generated` or not. What it did not do well earlier is forgotten.
    pub fn succeeded(&self, generated: bool) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        // Written seldom: threads that read it only share its cache line.
        if generated && !self.generated.load(Relaxed) {
            self.generated.store(true, Relaxed);
        }
    }

    /// Whether it has generated something since this was asked last, and nothing has failed there. Then it need not be
    /// looked at.
    pub fn has_proven_itself(&self) -> bool {
        let troubled = self.troubled.swap(false, Relaxed);
        self.generated.swap(false, Relaxed) && !troubled
    }

    /// A request failed there. It is not ejected if it `is_needed`: if too few others could be asked in its place.
    pub fn failed(&self, tolerance: &Tolerance, now: Moment, is_needed: impl FnOnce() -> bool) -> Verdict {
        self.troubled.store(true, Relaxed);
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        if failures < tolerance.failures || is_needed() {
            return Verdict::Counted;
        }
        let mut before = self.ejections.lock().unwrap_or_else(PoisonError::into_inner);
        if self.failures.swap(0, Relaxed) == 0 {
            // Another request has just said so.
            return Verdict::Counted;
        }
        let calm = before.ended.is_none_or(|ended| now.since(ended) > before.last * 2);
        let time = if calm { tolerance.base } else { (before.last * 2).min(tolerance.most) };
        *before = Ejections { last: time, ended: Some(now + time) };
        self.returning.store(0, Relaxed);
        self.ejected.store((now + time).get(), Relaxed);
        Verdict::Ejected(time)
    }

    /// It takes no further requests for so long, it said.
    pub fn is_full_for(&self, time: Duration, now: Moment) {
        self.full.store((now + time).get(), Relaxed);
    }

    /// Whether it takes no further requests, as it said.
    pub(crate) fn is_full(&self, now: Moment) -> bool {
        is_ahead(&self.full, now)
    }

    /// It was looked at and found well. Says whether that is news.
    pub fn looked_well(&self, now: Moment) -> bool {
        self.looks.store(0, Relaxed);
        let news = self.down.swap(false, Relaxed);
        if news {
            self.returning.store(now.get(), Relaxed);
        }
        news
    }

    /// It was looked at and found unwell. Says whether it is down by this, and was not before.
    pub fn looked_unwell(&self, tolerance: &Tolerance) -> bool {
        let looks = self.looks.fetch_add(1, Relaxed).saturating_add(1);
        looks >= tolerance.looks && !self.down.swap(true, Relaxed)
    }

    /// Whether it was found unwell and not yet well again.
    pub fn is_down(&self) -> bool {
        self.down.load(Relaxed)
    }

    /// Tells whether it sleeps, and gives what it was before.
    pub fn set_asleep(&self, asleep: bool) -> bool {
        self.asleep.swap(asleep, Relaxed)
    }

    /// Whether it sleeps.
    pub fn is_asleep(&self) -> bool {
        self.asleep.load(Relaxed)
    }

    /// Whether it sleeps, where that is a reason not to ask it.
    pub(crate) fn keeps_asleep(&self, tolerance: &Tolerance) -> bool {
        tolerance.sleepers != Sleepers::Ignored && self.is_asleep()
    }

    /// What it is in.
    pub fn state(&self, tolerance: &Tolerance, now: Moment) -> State {
        if self.down.load(Relaxed) {
            State::Down
        } else if self.is_ejected(now) {
            State::Ejected
        } else if self.keeps_asleep(tolerance) {
            State::Asleep
        } else if self.is_full(now) {
            State::Full
        } else if self.share(tolerance, now) < 1.0 {
            State::Returning
        } else {
            State::Up
        }
    }

    fn is_ejected(&self, now: Moment) -> bool {
        let until = self.ejected.load(Relaxed);
        let Some(moment) = Moment::from_raw(until) else { return false };
        if now < moment {
            return true;
        }
        // It comes back from here on, whoever is first to see it.
        if self.ejected.compare_exchange(until, 0, Relaxed, Relaxed).is_ok() {
            self.returning.store(until, Relaxed);
        }
        false
    }

    /// Which part of its share it should get: 1 but for a server that is coming back.
    fn share(&self, tolerance: &Tolerance, now: Moment) -> f32 {
        /// What it gets at once, so that it is seen to work at all.
        const LEAST: f32 = 0.1;
        let Some(since) = Moment::from_raw(self.returning.load(Relaxed)) else { return 1.0 };
        let part = now.since(since).as_secs_f32() / tolerance.return_over.as_secs_f32().max(0.001);
        if part >= 1.0 {
            self.returning.store(0, Relaxed);
            return 1.0;
        }
        part.max(LEAST)
    }

    /// Whether it may be asked now; by chance, while it is coming back.
    pub(crate) fn admits(&self, tolerance: &Tolerance, now: Moment) -> bool {
        match self.state(tolerance, now) {
            State::Up => true,
            State::Returning => fastrand::f32() < self.share(tolerance, now),
            State::Full | State::Ejected | State::Down | State::Asleep | State::Drained => false,
        }
    }
}

fn is_ahead(moment: &AtomicU64, now: Moment) -> bool {
    Moment::from_raw(moment.load(Relaxed)).is_some_and(|moment| now < moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Tolerance = Tolerance {
        failures: 3,
        base: Duration::from_secs(5),
        most: Duration::from_secs(15),
        return_over: Duration::from_secs(10),
        looks: 2,
        sleepers: Sleepers::Avoided,
    };

    fn fail(health: &Health, times: usize, now: Moment) -> Verdict {
        (0..times).map(|_| health.failed(&TOLERANCE, now, || false)).last().unwrap_or(Verdict::Counted)
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn failures_in_a_row_eject_and_others_do_not() {
        let (health, now) = (Health::default(), Moment::now());
        assert_eq!(fail(&health, 2, now), Verdict::Counted);
        health.succeeded(true);
        assert_eq!(fail(&health, 2, now), Verdict::Counted);
        assert_eq!(health.state(&TOLERANCE, now), State::Up);
        assert_eq!(fail(&health, 1, now), Verdict::Ejected(secs(5)));
        assert_eq!(health.state(&TOLERANCE, now), State::Ejected);
    }

    #[test]
    fn the_time_grows_when_it_happens_again_soon_and_is_forgotten_after_calm() {
        let (health, mut now) = (Health::default(), Moment::now());
        for wanted in [5, 10, 15, 15] {
            assert_eq!(fail(&health, 3, now), Verdict::Ejected(secs(wanted)));
            now = now + secs(wanted);
            assert_eq!(health.state(&TOLERANCE, now), State::Returning);
        }
        now = now + secs(31);
        assert_eq!(fail(&health, 3, now), Verdict::Ejected(secs(5)));
    }

    #[test]
    fn one_that_is_needed_is_never_ejected() {
        let (health, now) = (Health::default(), Moment::now());
        for _ in 0..100 {
            assert_eq!(health.failed(&TOLERANCE, now, || true), Verdict::Counted);
        }
        assert_eq!(health.state(&TOLERANCE, now), State::Up);
    }

    #[test]
    fn it_comes_back_little_by_little() {
        let (health, now) = (Health::default(), Moment::now());
        fail(&health, 3, now);
        let back = now + secs(5);
        assert_eq!(health.state(&TOLERANCE, back), State::Returning);
        let admitted = |now| (0..2000).filter(|_| health.admits(&TOLERANCE, now)).count();
        assert!((100..350).contains(&admitted(back)), "{}", admitted(back));
        let half = admitted(back + secs(5));
        assert!((850..1150).contains(&half), "{half}");
        assert_eq!(admitted(back + secs(10)), 2000);
        assert_eq!(health.state(&TOLERANCE, back + secs(10)), State::Up);
    }

    #[test]
    fn it_is_down_once_looks_in_a_row_found_it_so_and_up_with_the_first_that_does_not() {
        let (health, now) = (Health::default(), Moment::now());
        assert!(!health.looked_unwell(&TOLERANCE) && !health.looked_well(now));
        assert!(!health.looked_unwell(&TOLERANCE) && health.looked_unwell(&TOLERANCE));
        assert_eq!(health.state(&TOLERANCE, now), State::Down);
        assert!(!health.looked_unwell(&TOLERANCE), "that is no news");
        assert!(health.looked_well(now));
        assert_eq!(health.state(&TOLERANCE, now), State::Returning);
    }

    #[test]
    fn a_full_one_is_left_alone_until_then() {
        let (health, now) = (Health::default(), Moment::now());
        health.is_full_for(secs(2), now);
        assert_eq!(health.state(&TOLERANCE, now), State::Full);
        assert_eq!(health.state(&TOLERANCE, now + secs(2)), State::Up);
    }
}
