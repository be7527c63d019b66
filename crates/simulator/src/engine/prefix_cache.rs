//! The prefix cache: which blocks of prompts are in the KV cache, and which goes first when it is full (b05, b05b).
//!
//! As in vLLM there is one room for what runs and for what is kept in case it comes again: blocks that a running
//! request uses stay, of the others the one that was used the longest ago goes first.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::blocks::Blocks;
use crate::text::hash_more;

/// How many blocks are remembered where nobody says.
const ROOM: usize = 16 * 1024;

/// What of a prompt was in the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CacheUse {
    pub(crate) cached: usize,
    pub(crate) created: usize,
}

/// The blocks that were computed before.
#[derive(Debug)]
pub(crate) struct PrefixCache {
    /// Tokens of a block.
    size: usize,
    /// Blocks that there are.
    room: usize,
    blocks: Mutex<Blocks>,
    /// Tokens that running requests hold beside whole blocks of their prompts: what they have answered.
    loose: AtomicUsize,
}

/// What a running request holds; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Held {
    cache: Arc<PrefixCache>,
    /// Each block, and whether it was known before.
    blocks: Vec<(u64, bool)>,
    computed: bool,
    loose: usize,
}

impl PrefixCache {
    pub(crate) fn new(block_size: usize, room: Option<usize>) -> Self {
        Self {
            size: block_size.max(1),
            room: room.unwrap_or(ROOM),
            blocks: Mutex::default(),
            loose: AtomicUsize::new(0),
        }
    }

    /// Looks prompts up and makes room for what of them is new.
    pub(crate) fn take<'p>(self: &Arc<Self>, prompts: impl Iterator<Item = &'p [u32]>) -> (CacheUse, Held) {
        let (mut used, mut held) = (CacheUse::default(), Vec::new());
        for prompt in prompts {
            let hashes = self.hashes(prompt);
            let mut blocks = self.lock();
            let mut created = 0;
            for hash in hashes {
                let known = blocks.hold(hash);
                if !known {
                    created += self.size;
                } else if created == 0 {
                    used.cached += self.size;
                }
                held.push((hash, known));
            }
            used.created += created;
            blocks.shrink(self.room.saturating_sub(self.loose.load(Relaxed) / self.size));
        }
        (used, Held { cache: self.clone(), blocks: held, computed: false, loose: 0 })
    }

    /// Which part of the room running requests hold.
    pub(crate) fn usage(&self) -> f64 {
        let tokens = self.lock().in_use() * self.size + self.loose.load(Relaxed);
        let part = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        (part(tokens) / part(self.room * self.size).max(1.0)).min(1.0)
    }

    /// Forgets all that nothing running uses.
    pub(crate) fn clear(&self) {
        self.lock().shrink(0);
    }

    /// The last token is always computed, so a prompt that ends with a block does not find that one.
    fn hashes(&self, tokens: &[u32]) -> Vec<u64> {
        let before_last = &tokens[..tokens.len().saturating_sub(1)];
        let hash = |state: &mut u64, block: &[u32]| {
            *state = block.iter().fold(*state, |state, token| hash_more(state, &token.to_le_bytes()));
            Some(*state)
        };
        before_last.chunks_exact(self.size).scan(0, hash).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// What was looked up has been computed, so others will find it.
    pub(crate) fn computed(&mut self) {
        self.computed = true;
    }

    /// Takes more tokens in.
    pub(crate) fn grow(&mut self, tokens: usize) {
        self.loose += tokens;
        self.cache.loose.fetch_add(tokens, Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.cache.loose.fetch_sub(self.loose, Relaxed);
        let mut blocks = self.cache.lock();
        // From the end: what a prompt begins with is of more use to others, so it is to stay longer.
        for (hash, known) in self.blocks.iter().rev() {
            blocks.leave(*hash, self.computed || *known);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(room: usize) -> Arc<PrefixCache> {
        Arc::new(PrefixCache::new(128, Some(room)))
    }

    /// Runs a prompt from its start to its end.
    fn run(cache: &Arc<PrefixCache>, prompt: &[u32]) -> CacheUse {
        let (used, mut held) = cache.take([prompt].into_iter());
        held.computed();
        used
    }

    fn prompt(of: u32, blocks: u32) -> Vec<u32> {
        (0..=blocks * 128).map(|token| token + of * 1_000_000).collect()
    }

    #[test]
    fn the_second_time_whole_blocks_are_cached() {
        let cache = cache(16);
        let prompt: Vec<u32> = (0..195).collect();
        assert_eq!(run(&cache, &prompt), CacheUse { cached: 0, created: 128 });
        assert_eq!(run(&cache, &prompt), CacheUse { cached: 128, created: 0 });
        assert_eq!(run(&cache, &prompt[..100]), CacheUse::default());
    }

    #[test]
    fn what_was_used_the_longest_ago_goes_first() {
        let cache = cache(4);
        let [first, second, third] = [1, 2, 3].map(|number| prompt(number, 2));
        run(&cache, &first);
        run(&cache, &second);
        assert_eq!(run(&cache, &first).cached, 256);
        run(&cache, &third);
        assert_eq!(run(&cache, &first).cached, 256, "it was used after the second");
        assert_eq!(run(&cache, &second).cached, 0);
    }

    #[test]
    fn of_one_prompt_the_end_goes_first() {
        let cache = cache(4);
        run(&cache, &prompt(1, 3));
        run(&cache, &prompt(2, 2));
        assert_eq!(run(&cache, &prompt(1, 3)).cached, 256);
    }

    #[test]
    fn what_runs_stays_and_counts_as_usage() {
        let cache = cache(4);
        let (_, mut held) = cache.take([prompt(1, 2).as_slice()].into_iter());
        held.computed();
        held.grow(128);
        assert!((cache.usage() - 0.75).abs() < 1e-9);
        run(&cache, &prompt(2, 4));
        cache.clear();
        assert_eq!(run(&cache, &prompt(1, 2)).cached, 256);
        drop(held);
        assert!(cache.usage().abs() < 1e-9);
        assert_eq!(run(&cache, &prompt(2, 4)).cached, 0);
    }

    #[test]
    fn what_was_not_computed_to_its_end_is_not_found() {
        let cache = cache(16);
        run(&cache, &prompt(1, 1));
        drop(cache.take([prompt(1, 3).as_slice()].into_iter()));
        assert_eq!(run(&cache, &prompt(1, 3)), CacheUse { cached: 128, created: 256 });
    }
}
