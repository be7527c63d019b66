//! `round-robin`: one after the other.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::Balance;
use crate::{Key, Member, fleet::Among};

/// Members in turn, each as often as its weight says, spread out evenly.
#[derive(Debug)]
pub(super) struct RoundRobin {
    slots: Box<[usize]>,
    next: AtomicUsize,
}

impl RoundRobin {
    pub(super) fn new(members: &[Member]) -> Self {
        let weights: Vec<u32> = members.iter().map(|member| member.weight).collect();
        Self { slots: smooth(&weights).into(), next: AtomicUsize::new(0) }
    }
}

impl Balance for RoundRobin {
    fn pick(&self, among: &Among<'_>, _key: &Key) -> Option<usize> {
        // A second try takes nobody's turn: else one that is down would send all its requests to the same neighbour.
        let start = if among.is_retry() { self.next.load(Relaxed) } else { self.next.fetch_add(1, Relaxed) };
        let len = self.slots.len();
        let slots = (0..len).filter_map(|step| self.slots.get(start.wrapping_add(step) % len).copied());
        slots.into_iter().find(|at| among.has(*at))
    }
}

/// The most slots. Shares of larger weights are rounded.
const MOST: u64 = 4096;

/// The sequence of smooth weighted round robin: at each step all gain their weight, and the richest pays the sum.
fn smooth(weights: &[u32]) -> Vec<usize> {
    let divisor = weights.iter().copied().filter(|weight| *weight > 0).reduce(gcd).unwrap_or(1);
    let sum: u64 = weights.iter().map(|weight| u64::from(weight / divisor)).sum();
    let room = MOST.max(weights.len() as u64);
    let scaled = |weight: u32| match u64::from(weight / divisor) {
        weight if sum <= room => weight,
        weight => (weight * room / sum).max(1),
    };
    let weights: Vec<i64> =
        weights.iter().map(|weight| i64::try_from(scaled(*weight)).unwrap_or(1)).collect();
    let total: i64 = weights.iter().sum();
    let mut credit = vec![0; weights.len()];
    let mut slots = Vec::new();
    for _ in 0..total {
        credit.iter_mut().zip(&weights).for_each(|(credit, weight)| *credit += weight);
        let richest = (0..credit.len()).max_by_key(|index| (credit[*index], std::cmp::Reverse(*index)));
        if let Some(index) = richest {
            credit[index] -= total;
            slots.push(index);
        }
    }
    slots
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
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

    #[test]
    fn weights_of_any_size_take_little_memory_and_nobody_is_left_out() {
        let slots = smooth(&[u32::MAX, 1, u32::MAX - 1]);
        assert!(slots.len() as u64 <= MOST + 3, "{}", slots.len());
        assert!((0..3).all(|at| slots.contains(&at)));
    }
}
