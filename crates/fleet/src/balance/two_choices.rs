//! `p2c`: the less busy of two that chance names. Nearly as even as looking at all, and where several gateways share
//! the servers, they do not all run to the same one.

use super::Balance;
use crate::{Key, fleet::Among};

#[derive(Debug)]
pub(super) struct TwoChoices;

impl Balance for TwoChoices {
    fn pick(&self, among: &Among<'_>, _key: &Key) -> Option<usize> {
        // By chance, the heavier the likelier.
        let (one, first) = among.from(among.turns().any()).next()?;
        // Drawn again, not the neighbour of the first: else those behind one that is down would be named more often.
        let mut others = among.from(among.turns().any()).filter(|(other, _)| *other != one);
        let Some((other, second)) = others.next() else { return Some(one) };
        Some(if second.load(among.now) < first.load(among.now) { other } else { one })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Policy,
        balance::testing::{fleet, pick, servers},
    };

    #[test]
    fn the_busiest_is_never_picked_and_the_others_all_are() {
        let fleet = fleet(Policy::TwoChoices, servers(4));
        (0..9).for_each(|_| assert!(fleet.members()[3].server.take(None)));
        let mut picked = [0; 4];
        (0..400).for_each(|_| picked[pick(&fleet, &Key::default())] += 1);
        assert!(picked[3] == 0 && picked[..3].iter().all(|count| *count > 50), "{picked:?}");
    }
}
