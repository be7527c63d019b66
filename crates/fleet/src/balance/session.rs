//! `session`: all requests of a session to the same server, in every gateway and after every restart.

use super::{Balance, least_requests::least_busy};
use crate::{Key, fleet::Among, key::mix};

/// Highest random weight: each server draws a lot for the session, and the highest wins. When a server goes, only its own
/// sessions move.
#[derive(Debug)]
pub(super) struct Session;

impl Balance for Session {
    fn pick(&self, among: &Among<'_>, key: &Key) -> Option<usize> {
        let Some(session) = key.session_hash() else { return least_busy(among) };
        let lots = lots(among, session).max_by(|(_, one), (_, other)| one.total_cmp(other));
        lots.map(|(at, _)| at)
    }
}

/// What each of those that may be asked draws for this hash. A lot is the highest as often as the weight of its server
/// says.
pub(super) fn lots(among: &Among<'_>, hash: u64) -> impl Iterator<Item = (usize, f64)> {
    (0..among.len()).filter_map(move |at| {
        let member = among.get(at)?;
        let lot = fraction(mix(member.server.place, hash));
        // Equal weights need no logarithm: the order is the same.
        Some((at, if among.is_even() { lot } else { -f64::from(member.weight.max(1)) / lot.ln() }))
    })
}

/// A number between 0 and 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits are left of it")]
fn fraction(hash: u64) -> f64 {
    ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64
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
