//! Counters by a small key that is not known beforehand, such as a status: a short list that only grows.

use std::sync::OnceLock;

use super::instruments::Counter;

/// Counters by key, in the order in which the keys were first seen. Few are ever seen, and those often.
pub(super) struct Tally<K>(OnceLock<Box<Node<K>>>);

struct Node<K> {
    key: K,
    counter: Counter,
    next: Tally<K>,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<K: Copy + PartialEq> Tally<K> {
    /// The counter of this key. Takes no lock, and allocates only for a key that was never seen.
    pub(super) fn of(&self, key: K) -> &Counter {
        let mut tally = self;
        loop {
            let fresh = || Box::new(Node { key, counter: Counter::default(), next: Self::default() });
            let node = tally.0.get_or_init(fresh);
            if node.key == key {
                return &node.counter;
            }
            tally = &node.next;
        }
    }

    /// All keys and their counters.
    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &Counter)> {
        std::iter::successors(self.0.get(), |node| node.next.0.get()).map(|node| (node.key, &node.counter))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::instruments::Instrument, *};

    #[test]
    fn every_count_of_every_thread_arrives() {
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..3_000_u16).for_each(|n| tally.of(n % 30).inc()));
            }
        });
        let mut counts: Vec<_> =
            tally.iter().map(|(key, counter)| (key, counter.read().get_counter().get_value())).collect();
        counts.sort_by_key(|(key, _)| *key);
        assert_eq!(counts.len(), 30);
        for (expected, (key, count)) in (0_u16..).zip(counts) {
            assert_eq!((key, count), (expected, 400.0));
        }
    }
}
