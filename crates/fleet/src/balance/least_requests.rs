//! `least-requests`: to the one with the fewest requests, for its weight.

use super::Balance;
use crate::{Key, fleet::Among};

#[derive(Debug)]
pub(super) struct LeastRequests;

impl Balance for LeastRequests {
    fn pick(&self, among: &Among<'_>, _key: &Key) -> Option<usize> {
        least_busy(among)
    }
}

/// The least busy of those that may be asked; of several, the one whose turn comes next.
pub(super) fn least_busy(among: &Among<'_>) -> Option<usize> {
    let loads = among.from(among.turn()).map(|(at, member)| (at, member.load(among.now)));
    loads.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Policy,
        balance::testing::{fleet, pick, servers},
    };

    #[test]
    fn the_one_with_the_fewest_for_its_weight_is_picked() {
        let mut members = servers(3);
        members[2].weight = 4;
        let fleet = fleet(Policy::LeastRequests, members);
        let mut taken = [0; 3];
        for _ in 0..60 {
            let at = pick(&fleet, &Key::default());
            fleet.members()[at].server.take(None);
            taken[at] += 1;
        }
        assert_eq!(taken, [10, 10, 40]);
    }

    #[test]
    fn where_nothing_runs_each_has_its_turn_as_its_weight_says() {
        let mut members = servers(3);
        members[2].weight = 4;
        let fleet = fleet(Policy::LeastRequests, members);
        let mut picked = [0; 3];
        (0..60).for_each(|_| picked[pick(&fleet, &Key::default())] += 1);
        assert_eq!(picked, [10, 10, 40]);
    }
}
