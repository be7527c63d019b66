//! Keys by digest, cut into shards: a lookup takes no lock, a change copies one shard per key.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use vllm_gateway_store::KeyDigest;

use crate::entry::KeyEntry;

const SHARDS: usize = 256;

// `KeyDigest` compares in constant time.
type Shard = HashMap<KeyDigest, KeyEntry>;

pub(crate) struct Shards(Box<[ArcSwap<Shard>]>);

/// Something to be done to one key.
pub(crate) enum Edit {
    Put(KeyEntry),
    /// Removes the key if it is that app's.
    Remove(String),
}

impl Shards {
    pub(crate) fn new() -> Self {
        Self((0..SHARDS).map(|_| ArcSwap::default()).collect())
    }

    pub(crate) fn get(&self, digest: &KeyDigest) -> Option<KeyEntry> {
        self.0.get(shard_of(digest))?.load().get(digest).cloned()
    }

    /// Makes all edits, in their order. Must not be called twice at once: the caller holds the directory's lock.
    pub(crate) fn edit(&self, edits: Vec<(KeyDigest, Edit)>) {
        let mut by_shard: HashMap<usize, Vec<(KeyDigest, Edit)>> = HashMap::new();
        for (digest, edit) in edits {
            by_shard.entry(shard_of(&digest)).or_default().push((digest, edit));
        }
        for (at, edits) in by_shard {
            let Some(shard) = self.0.get(at) else { continue };
            let mut copy = Shard::clone(&shard.load());
            for (digest, edit) in edits {
                match edit {
                    Edit::Put(entry) => {
                        copy.insert(digest, entry);
                    }
                    Edit::Remove(id) => {
                        if copy.get(&digest).is_some_and(|entry| entry.app.id == id) {
                            copy.remove(&digest);
                        }
                    }
                }
            }
            shard.store(Arc::new(copy));
        }
    }
}

fn shard_of(digest: &KeyDigest) -> usize {
    let [first, ..] = digest.as_bytes();
    usize::from(*first)
}
