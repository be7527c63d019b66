//! A prefix cache of whole blocks, for `prompt_tokens_details.cached_tokens` (b05, b05b).

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::text::hash_more;

/// vLLM's block size on the recorded machine.
const BLOCK: usize = 128;
/// How many blocks are remembered; the oldest go first.
const ROOM: usize = 16 * 1024;

/// What of a prompt was in the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CacheUse {
    pub(crate) cached: usize,
    pub(crate) created: usize,
}

#[derive(Debug, Default)]
struct Blocks {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

/// The blocks that were computed before.
#[derive(Debug, Default)]
pub(crate) struct PrefixCache {
    blocks: Mutex<Blocks>,
}

impl PrefixCache {
    /// Looks a prompt up and remembers it.
    pub(crate) fn look_up(&self, tokens: &[u32]) -> CacheUse {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut state, mut used) = (0, CacheUse::default());
        // The last token is always computed, so a prompt that ends with a block does not find that one.
        for block in tokens[..tokens.len().saturating_sub(1)].chunks_exact(BLOCK) {
            state = block.iter().fold(state, |state, token| hash_more(state, &token.to_le_bytes()));
            if blocks.known.insert(state) {
                blocks.order.push_back(state);
                used.created += BLOCK;
            } else if used.created == 0 {
                used.cached += BLOCK;
            }
        }
        while blocks.order.len() > ROOM {
            if let Some(oldest) = blocks.order.pop_front() {
                blocks.known.remove(&oldest);
            }
        }
        used
    }

    pub(crate) fn clear(&self) {
        *self.blocks.lock().unwrap_or_else(PoisonError::into_inner) = Blocks::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_time_whole_blocks_are_cached() {
        let cache = PrefixCache::default();
        let prompt: Vec<u32> = (0..195).collect();
        assert_eq!(cache.look_up(&prompt), CacheUse { cached: 0, created: 128 });
        assert_eq!(cache.look_up(&prompt), CacheUse { cached: 128, created: 0 });
        assert_eq!(cache.look_up(&prompt[..100]), CacheUse::default());
    }
}
