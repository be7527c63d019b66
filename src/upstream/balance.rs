//! Which endpoint comes first. A policy gives an order, so that "refused, try the next" is the same loop.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A way to spread requests over endpoints.
pub(crate) trait Balance: Send + Sync {
    /// Indexes of the endpoints to try, best first, each once.
    fn order(&self, endpoints: usize) -> Order<'_>;
}

/// Endpoints in turn, each as often as its weight says, spread out evenly.
pub(crate) struct RoundRobin {
    slots: Box<[usize]>,
    next: AtomicUsize,
}

impl RoundRobin {
    pub(crate) fn new(weights: &[u32]) -> Self {
        Self { slots: smooth(weights).into(), next: AtomicUsize::new(0) }
    }
}

impl Balance for RoundRobin {
    fn order(&self, endpoints: usize) -> Order<'_> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        Order { slots: &self.slots, start, step: 0, given: vec![false; endpoints] }
    }
}

/// Walks the slots once around, leaving out what was given before.
pub(crate) struct Order<'a> {
    slots: &'a [usize],
    start: usize,
    step: usize,
    given: Vec<bool>,
}

impl Iterator for Order<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while self.step < self.slots.len() {
            let slot = self.start.wrapping_add(self.step) % self.slots.len();
            self.step += 1;
            let index = *self.slots.get(slot)?;
            if let Some(given @ false) = self.given.get_mut(index) {
                *given = true;
                return Some(index);
            }
        }
        None
    }
}

/// The sequence of smooth weighted round robin: at each step all gain their weight, and the richest pays the sum.
fn smooth(weights: &[u32]) -> Vec<usize> {
    let divisor = weights.iter().copied().filter(|weight| *weight > 0).reduce(gcd).unwrap_or(1);
    let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
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

    fn firsts(balance: &RoundRobin, endpoints: usize, requests: usize) -> Vec<usize> {
        (0..requests).filter_map(|_| balance.order(endpoints).next()).collect()
    }

    #[test]
    fn endpoints_take_turns_as_often_as_their_weights_say() {
        assert_eq!(firsts(&RoundRobin::new(&[1, 1, 1]), 3, 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(firsts(&RoundRobin::new(&[1, 2]), 2, 6), [1, 0, 1, 1, 0, 1]);
        assert_eq!(firsts(&RoundRobin::new(&[200, 100]), 2, 3), [0, 1, 0]);
    }

    #[test]
    fn the_others_follow_each_once() {
        let balance = RoundRobin::new(&[3, 1, 2]);
        for _ in 0..12 {
            let mut order: Vec<_> = balance.order(3).collect();
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2]);
        }
    }
}
