//! Blocks of the KV cache: who uses them, and which nobody has used for the longest.

use std::collections::{BTreeMap, HashMap};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// By the hash of all tokens up to the end of the block.
    known: HashMap<u64, Block>,
    /// Those that nobody uses, by when the last one left them.
    unused: BTreeMap<u64, u64>,
    moves: u64,
}

#[derive(Debug, Default)]
struct Block {
    users: usize,
    /// Where it stands in `unused` while it has no users.
    left_at: u64,
}

impl Blocks {
    /// One more uses this block; says whether it was there.
    pub(super) fn hold(&mut self, hash: u64) -> bool {
        let known = self.known.contains_key(&hash);
        let block = self.known.entry(hash).or_default();
        if known && block.users == 0 {
            self.unused.remove(&block.left_at);
        }
        block.users += 1;
        known
    }

    /// One fewer uses it; it is kept for others, or not.
    pub(super) fn leave(&mut self, hash: u64, keep: bool) {
        let Some(block) = self.known.get_mut(&hash) else { return };
        block.users = block.users.saturating_sub(1);
        if block.users > 0 {
            return;
        }
        if keep {
            self.moves += 1;
            block.left_at = self.moves;
            self.unused.insert(self.moves, hash);
        } else {
            self.known.remove(&hash);
        }
    }

    /// How many are in use.
    pub(super) fn in_use(&self) -> usize {
        self.known.len() - self.unused.len()
    }

    /// Drops what was left the longest ago, until there are no more than so many or only those in use.
    pub(super) fn shrink(&mut self, room: usize) {
        while self.known.len() > room
            && let Some((_, hash)) = self.unused.pop_first()
        {
            self.known.remove(&hash);
        }
    }
}
