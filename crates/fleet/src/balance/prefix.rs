//! `prefix`: to where the prompt's beginning is cached, unless that one is too busy.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{Balance, least_requests::least_busy, session::lots};
use crate::{Key, fleet::Among};

/// A beginning of a prompt is known at up to so many servers.
const WAYS: usize = 4;
/// How many beginnings are remembered, times [`WAYS`]: 2 MiB. A power of two.
const ROWS: usize = 1 << 16;

/// Which server has seen which beginning of a prompt. Nothing is locked: two threads that write the same place at once
/// lose one of two memories, and a beginning that is remembered no longer goes where there is room.
pub struct PrefixTable {
    rows: Box<[[AtomicU64; WAYS]]>,
}

impl Default for PrefixTable {
    fn default() -> Self {
        Self { rows: (0..ROWS).map(|_| Default::default()).collect() }
    }
}

impl std::fmt::Debug for PrefixTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrefixTable").finish_non_exhaustive()
    }
}

impl PrefixTable {
    /// The one of this process. Servers have numbers of their own, so fleets do not get into each other's way.
    pub fn shared() -> Arc<Self> {
        static SHARED: LazyLock<Arc<PrefixTable>> = LazyLock::new(Arc::default);
        Arc::clone(&SHARED)
    }

    /// The row of a hash, and what entries of it carry in their upper 48 bits.
    fn row(&self, hash: u64) -> (&[AtomicU64], u64) {
        #[expect(clippy::cast_possible_truncation, reason = "only the lowest bits choose the row")]
        let row = hash as usize & (ROWS - 1);
        // The row's number is not in the tag, so its bits say something new. 0 is an empty entry.
        (self.rows.get(row).map(<[_; WAYS]>::as_slice).unwrap_or_default(), (hash | 1 << 63) & !0xffff)
    }

    /// The numbers of the servers that have seen it.
    fn find(&self, hash: u64) -> impl Iterator<Item = u16> {
        let (row, tag) = self.row(hash);
        let entries = row.iter().map(|entry| entry.load(Relaxed));
        #[expect(clippy::cast_possible_truncation, reason = "the number is in the lower 16 bits")]
        entries.filter(move |entry| entry & !0xffff == tag).map(|entry| entry as u16)
    }

    /// Remembers that this server has seen it. What is forgotten for it, chance says.
    fn remember(&self, hash: u64, server: u16) {
        let (row, tag) = self.row(hash);
        let entry = tag | u64::from(server);
        let is_here = |place: &&AtomicU64| place.load(Relaxed) == entry;
        if row.iter().any(|place| is_here(&place)) {
            return;
        }
        let free = row.iter().find(|place| place.load(Relaxed) == 0);
        if let Some(place) = free.or_else(|| row.get(fastrand::usize(..WAYS))) {
            place.store(entry, Relaxed);
        }
    }
}

#[derive(Debug)]
pub(super) struct Prefix {
    table: Arc<PrefixTable>,
}

/// A server with so many requests, for its weight, is never too busy for one that knows its prompt.
const SPARE: f32 = 4.0;
/// Beyond that, it is too busy with so many times what all have on the average.
const FACTOR: f32 = 1.5;

impl Prefix {
    pub(super) fn new(table: Arc<PrefixTable>) -> Self {
        Self { table }
    }

    /// The least busy of those that have seen the longest beginning and are not too busy.
    fn known(&self, among: &Among<'_>, key: &Key, most: f32) -> Option<usize> {
        key.beginnings().iter().rev().find_map(|beginning| {
            let indexes = self.table.find(*beginning).filter_map(|id| among.index_of(id));
            let members = indexes.filter_map(|at| Some((at, among.get(at)?.load(among.now))));
            let idle = members.filter(|(_, load)| *load <= most);
            idle.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(at, _)| at)
        })
    }
}

impl Balance for Prefix {
    fn pick(&self, among: &Among<'_>, key: &Key) -> Option<usize> {
        let Some(first) = key.beginnings().first() else { return least_busy(among) };
        let most = too_busy(among);
        let chosen = self.known(among, key, most).or_else(|| fresh(among, *first, most))?;
        let server = among.id_of(chosen)?;
        key.beginnings().iter().for_each(|beginning| self.table.remember(*beginning, server));
        Some(chosen)
    }
}

/// From which load on a server is too busy.
fn too_busy(among: &Among<'_>) -> f32 {
    let (sum, count) = (0..among.len())
        .filter_map(|at| among.get(at))
        .fold((0.0, 0.0), |(sum, count), member| (sum + member.load(among.now), count + 1.0_f32));
    (FACTOR * sum / count.max(1.0)).max(SPARE)
}

/// Where a prompt goes that nobody knows: one of two servers that its hash names, so that several gateways agree; to the
/// least busy if both are too busy.
fn fresh(among: &Among<'_>, hash: u64, most: f32) -> Option<usize> {
    let mut best: [Option<(f64, usize, f32)>; 2] = [None, None];
    for (at, lot) in lots(among, hash) {
        let Some(member) = among.get(at) else { continue };
        let one = (lot, at, member.load(among.now));
        if best[0].is_none_or(|first| one.0 > first.0) {
            best = [Some(one), best[0]];
        } else if best[1].is_none_or(|second| one.0 > second.0) {
            best[1] = Some(one);
        }
    }
    let named = best.into_iter().flatten().min_by(|one, other| one.2.total_cmp(&other.2));
    named.filter(|(_, _, load)| *load <= most).map(|(_, at, _)| at).or_else(|| least_busy(among))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Fleet, Policy, PrefixHasher,
        balance::testing::{fleet, pick, servers, without},
    };

    fn prompt(shared: char, shared_len: usize, own: &str) -> Key {
        let mut hasher = PrefixHasher::default();
        hasher.feed(shared.to_string().repeat(shared_len).as_bytes());
        hasher.feed(own.as_bytes());
        Key::default().prompt(&hasher)
    }

    fn of(count: usize) -> Fleet {
        fleet(Policy::Prefix(Arc::default()), servers(count))
    }

    #[test]
    fn prompts_that_begin_alike_go_to_the_same_server() {
        let fleet = of(8);
        for shared in ['a', 'b', 'c', 'd', 'e'] {
            let homes: Vec<_> =
                (0..20).map(|n| pick(&fleet, &prompt(shared, 2000, &format!("{n}").repeat(500)))).collect();
            assert!(homes.iter().all(|home| *home == homes[0]), "{shared}: {homes:?}");
        }
    }

    #[test]
    fn a_beginning_that_everybody_uses_does_not_overload_one_server() {
        let fleet = of(8);
        for n in 0..200 {
            let at = pick(&fleet, &prompt('a', 4000, &n.to_string()));
            fleet.members()[at].server.take(None);
        }
        let taken: Vec<_> = fleet.members().iter().map(|member| member.server.in_flight()).collect();
        assert!(
            taken.iter().all(|taken| *taken <= 38),
            "at most half as much again as the average: {taken:?}"
        );
    }

    #[test]
    fn the_longest_beginning_decides() {
        let fleet = of(8);
        let common = pick(&fleet, &prompt('a', 300, ""));
        // Somebody else gets a conversation that begins alike, since the first has much to do.
        (0..9).for_each(|_| assert!(fleet.members()[common].server.take(None)));
        let mine = prompt('a', 300, &"b".repeat(3000));
        let home = pick(&fleet, &mine);
        assert_ne!(home, common);
        (0..9).for_each(|_| fleet.members()[common].server.give());
        let next = prompt('a', 300, &format!("{}{}", "b".repeat(3000), "c".repeat(800)));
        assert_eq!(pick(&fleet, &next), home);
    }

    #[test]
    fn a_server_that_is_gone_is_forgotten() {
        let table = Arc::<PrefixTable>::default();
        let all = fleet(Policy::Prefix(Arc::clone(&table)), servers(3));
        let key = prompt('a', 1000, "");
        let home = pick(&all, &key);
        let fleet = without(Policy::Prefix(table), &all, home);
        let other = pick(&fleet, &key);
        assert_ne!(other, home);
    }

    #[test]
    fn a_short_prompt_goes_where_there_is_least_to_do() {
        let fleet = of(3);
        [0, 2].into_iter().for_each(|at| assert!(fleet.members()[at].server.take(None)));
        assert_eq!(pick(&fleet, &prompt('a', 100, "")), 1);
    }

    #[test]
    fn the_same_row_holds_several_servers_of_one_beginning() {
        let table = PrefixTable::default();
        (0..3).for_each(|server| table.remember(77, server));
        table.remember(77, 1);
        let mut found: Vec<_> = table.find(77).collect();
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2]);
        assert_eq!(table.find(78).count(), 0);
    }
}
