//! `round-robin`: one after the other.

use super::Balance;
use crate::{Key, fleet::Among};

#[derive(Debug)]
pub(super) struct RoundRobin;

impl Balance for RoundRobin {
    fn pick(&self, among: &Among<'_>, _key: &Key) -> Option<usize> {
        let turns = among.turns();
        let first = among.turn();
        (0..turns.len()).filter_map(|step| turns.at(first.wrapping_add(step))).find(|at| among.has(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Policy,
        balance::testing::{fleet, pick, servers},
    };

    fn turns(weights: &[u32], requests: usize) -> Vec<usize> {
        let mut members = servers(weights.len());
        members.iter_mut().zip(weights).for_each(|(member, weight)| member.weight = *weight);
        let fleet = fleet(Policy::RoundRobin, members);
        (0..requests).map(|_| pick(&fleet, &Key::default())).collect()
    }

    #[test]
    fn servers_take_turns_as_often_as_their_weights_say() {
        assert_eq!(turns(&[1, 1, 1], 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(turns(&[1, 2], 6), [1, 0, 1, 1, 0, 1]);
        assert_eq!(turns(&[200, 100], 3), [0, 1, 0]);
    }

    #[test]
    fn a_second_try_takes_nobodys_turn() {
        let fleet = fleet(Policy::RoundRobin, servers(2));
        let now = crate::Moment::now();
        let mut first = Vec::new();
        for _ in 0..4 {
            let at = pick(&fleet, &Key::default());
            first.push(at);
            let mut tried = crate::Tried::default();
            tried.add(at);
            assert_eq!(fleet.choose(&Key::default(), &tried, now), crate::Choice::Server(1 - at));
        }
        assert_eq!(first, [0, 1, 0, 1]);
    }
}
