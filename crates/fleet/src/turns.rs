//! Whose turn it is: members in a sequence in which each stands as often as its weight says, spread out evenly.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::Member;

/// The sequence, and where it has come to.
#[derive(Debug)]
pub(crate) struct Turns {
    slots: Box<[usize]>,
    next: AtomicUsize,
}

impl Turns {
    pub(crate) fn of(members: &[Member]) -> Self {
        let weights: Vec<u32> = members.iter().map(|member| member.weight).collect();
        Self { slots: smooth(&weights).into(), next: AtomicUsize::new(0) }
    }

    /// Takes the next turn.
    pub(crate) fn take(&self) -> usize {
        self.next.fetch_add(1, Relaxed)
    }

    /// The next turn, which stays.
    pub(crate) fn look(&self) -> usize {
        self.next.load(Relaxed)
    }

    /// A turn by chance.
    pub(crate) fn any(&self) -> usize {
        fastrand::usize(..self.slots.len().max(1))
    }

    /// Whose turn this is.
    pub(crate) fn at(&self, turn: usize) -> Option<usize> {
        self.slots.get(turn % self.slots.len().max(1)).copied()
    }

    /// How many turns it takes until all come again.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
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

    #[test]
    fn weights_of_any_size_take_little_memory_and_nobody_is_left_out() {
        let slots = smooth(&[u32::MAX, 1, u32::MAX - 1]);
        assert!(slots.len() as u64 <= MOST + 3, "{}", slots.len());
        assert!((0..3).all(|at| slots.contains(&at)));
    }
}
