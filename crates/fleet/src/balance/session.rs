//! `session`: all requests of a session to the same server, in every gateway and after every restart.

use super::{Balance, least_requests::least_busy};
use crate::{Key, Member, fleet::Among, key::mix};

/// Highest random weight: each server draws a lot for the session, and the highest wins. When a server goes, only its own
/// sessions move.
#[derive(Debug)]
pub(super) struct Session {
    is_even: bool,
}

impl Session {
    pub(super) fn new(members: &[Member]) -> Self {
        let is_even = members.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        Self { is_even }
    }
}

impl Balance for Session {
    fn pick(&self, among: &Among<'_>, key: &Key) -> Option<usize> {
        let Some(session) = key.session_hash() else { return least_busy(among) };
        highest(among, session, self.is_even)
    }
}

/// The one of those that may be asked which has drawn the highest lot for this hash.
fn highest(among: &Among<'_>, hash: u64, is_even: bool) -> Option<usize> {
    let members = (0..among.len()).filter_map(|at| Some((at, among.get(at)?)));
    if is_even {
        // Equal weights need no logarithm.
        return members.max_by_key(|(_, member)| mix(member.server.place, hash)).map(|(at, _)| at);
    }
    let lots = members.map(|(at, member)| (at, weighted(mix(member.server.place, hash), member.weight)));
    lots.max_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(at, _)| at)
}

/// A lot that wins as often as its weight says: -weight / ln(lot), with the lot between 0 and 1.
fn weighted(lot: u64, weight: u32) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a lot is a fraction")]
    let lot = ((lot >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(weight) / lot.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Policy,
        balance::testing::{fleet, pick, servers, without},
    };

    fn session(n: usize) -> Key {
        Key::default().session(format!("session-{n}").as_bytes())
    }

    #[test]
    fn a_session_stays_where_it_is_and_only_those_of_a_server_that_goes_move() {
        let fleet = fleet(Policy::Session, servers(5));
        let homes: Vec<_> = (0..500).map(|n| pick(&fleet, &session(n))).collect();
        let fleet = without(Policy::Session, &fleet, 2);
        for (n, home) in homes.iter().enumerate() {
            let now = pick(&fleet, &session(n));
            assert!(if *home == 2 { now != 2 } else { now == *home }, "{n}: {home} {now}");
        }
        assert!((60..140).contains(&homes.iter().filter(|home| **home == 2).count()));
    }

    #[test]
    fn servers_get_sessions_as_their_weights_say() {
        let mut members = servers(3);
        members[1].weight = 2;
        let fleet = fleet(Policy::Session, members);
        let mut picked = [0; 3];
        (0..4000).for_each(|n| picked[pick(&fleet, &session(n))] += 1);
        assert!((850..1150).contains(&picked[0]) && (1850..2150).contains(&picked[1]), "{picked:?}");
    }
}
