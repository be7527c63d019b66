//! One server, as it is known beyond every list that it stands in.

use std::{
    sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::{Health, Moment, Pace, Report, key};

/// What is known of one server.
#[derive(Debug)]
pub struct Server {
    /// Tells servers apart in small tables.
    pub(crate) id: u16,
    /// Where it stands when keys are spread by hashing: the same in every gateway and after every restart.
    pub(crate) place: u64,
    in_flight: AtomicU32,
    /// So many requests were too many, and until when that is believed; 0 is not at all.
    too_many: AtomicU32,
    believed: AtomicU64,
    /// Whether it can be asked.
    pub health: Health,
    /// What it says of its own load.
    pub report: Report,
    /// How soon it begins an answer.
    pub pace: Pace,
}

impl Server {
    /// A server of this name (its URL, say), of which nothing is known yet.
    pub fn new(name: &str) -> Self {
        // After 65,536 servers numbers come again, and a request may be sent where its prefix is not: no harm.
        static NEXT: AtomicU16 = AtomicU16::new(0);
        Self {
            id: NEXT.fetch_add(1, Relaxed),
            place: key::hash(name.as_bytes()),
            in_flight: AtomicU32::new(0),
            too_many: AtomicU32::new(0),
            believed: AtomicU64::new(0),
            health: Health::default(),
            report: Report::default(),
            pace: Pace::default(),
        }
    }

    /// Requests of this gateway that run there.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// It refuses a request (which still has its slot) since it has enough of them. For a while no more are sent than it
    /// has then, and none for as long as it says, or for a moment where it has none of ours to wait for.
    pub fn refuses_more(&self, retry_after: Option<Duration>, now: Moment) {
        const BELIEVED: Duration = Duration::from_secs(10);
        const MOMENT: Duration = Duration::from_secs(1);
        let running = self.in_flight().saturating_sub(1);
        self.too_many.store(running.max(1), Relaxed);
        self.believed.store((now + BELIEVED).get(), Relaxed);
        // Whatever it says, a server that refuses though nothing of ours runs there is not asked again at once.
        let least = if running == 0 { MOMENT } else { Duration::ZERO };
        let time = retry_after.unwrap_or_default().max(least);
        if !time.is_zero() {
            self.health.is_full_for(time, now);
        }
    }

    /// Whether another request would be one too many, as far as it is known.
    pub(crate) fn has_enough(&self, now: Moment) -> bool {
        Moment::from_raw(self.believed.load(Relaxed))
            .is_some_and(|until| now < until && self.in_flight() >= self.too_many.load(Relaxed))
    }

    /// Takes a slot for a request, unless so many are taken already. Whoever took it gives it back.
    pub fn take(&self, most: Option<u32>) -> bool {
        let before = self.in_flight.fetch_add(1, Relaxed);
        if most.is_some_and(|most| before >= most) {
            self.give();
            return false;
        }
        true
    }

    /// Gives a slot back.
    pub fn give(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_server_that_refuses_is_not_asked_again_at_once_whatever_it_says() {
        let (server, now) = (Server::new("http://10.0.0.1:8000"), Moment::now());
        assert!(server.take(None));
        server.refuses_more(Some(Duration::ZERO), now);
        server.give();
        assert!(server.health.is_full(now) && !server.health.is_full(now + Duration::from_secs(1)));
    }

    #[test]
    fn after_a_refusal_it_gets_no_more_than_it_had_for_a_while() {
        let (server, now) = (Server::new("http://10.0.0.1:8000"), Moment::now());
        (0..4).for_each(|_| assert!(server.take(None)));
        server.refuses_more(None, now);
        server.give();
        assert!(server.has_enough(now), "three run, and a fourth was refused");
        server.give();
        assert!(!server.has_enough(now), "one has ended");
        assert!(
            server.take(None) && server.has_enough(now) && !server.has_enough(now + Duration::from_secs(10))
        );
    }
}
