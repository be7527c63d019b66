//! The directory: whose key is this, answered from memory.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use vllm_gateway_sdk::{Apps, Lookup};
use vllm_gateway_store::{AppStatus, ChangeMark, Changes, StoredApp};

use crate::entry::AppEntry;
use crate::key;
use crate::shards::{Edit, Shards};

/// Without word from the store for this long, a key that is not known here may have been made elsewhere.
pub(crate) const FRESH: Duration = Duration::from_secs(5);

/// Every app, in memory.
///
/// While the store is away, known keys keep working up to the staleness bound, and what is not known gets neither
/// yes nor no ([`Lookup::Unavailable`]).
pub struct Directory {
    shards: Shards,
    known: Mutex<Known>,
    /// Held for the whole of a local change; by a hash of the app's id, so that one slow change holds up few others.
    changing: [tokio::sync::Mutex<()>; 16],
    /// Where the next poll goes on; held while one runs.
    pub(crate) mark: tokio::sync::Mutex<ChangeMark>,
    staleness: Duration,
    born: Instant,
    /// Milliseconds from `born` to the start of the last poll that succeeded, plus one; 0 before the first.
    last_success: AtomicU64,
}

#[derive(Default)]
struct Known {
    apps: HashMap<String, Arc<AppEntry>>,
    /// Apps with a local change in progress.
    open: HashSet<String>,
    /// Apps with a local change that ended since the poll in flight began: what the poll says of them may be old.
    touched: HashSet<String>,
}

impl Directory {
    /// An empty directory, which says [`Lookup::Unavailable`] until [`sync`](Self::sync) has loaded it. Known keys
    /// are served for `staleness` after the store was last heard.
    #[must_use]
    pub fn new(staleness: Duration) -> Self {
        Self {
            shards: Shards::new(),
            known: Mutex::default(),
            changing: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            mark: tokio::sync::Mutex::default(),
            staleness,
            born: Instant::now(),
            last_success: AtomicU64::new(0),
        }
    }

    /// Whether it can tell whose key is whose: loaded, and not staler than allowed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.age().is_some_and(|age| age <= self.staleness)
    }

    /// How long ago the store was last heard; `None` if never.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let heard = self.last_success.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.born.elapsed().saturating_sub(Duration::from_millis(heard)))
    }

    /// How many apps it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known().apps.len()
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Announces a local change of an app. Take this *before* the store is asked, give its answer to the result.
    ///
    /// Until the result is gone, other local changes of the app wait, and no poll overwrites the app with what it
    /// read before the change.
    pub async fn change(&self, id: &str) -> Change<'_> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let [first, ..] = hasher.finish().to_le_bytes();
        let turn = self.changing[usize::from(first) % self.changing.len()].lock().await;
        self.known().open.insert(id.to_owned());
        Change { directory: self, id: id.to_owned(), _turn: turn }
    }

    /// Puts an app as the store has acknowledged it in force at once. For an app that nobody else may be changing,
    /// such as one just made; otherwise use [`change`](Self::change).
    pub fn apply(&self, stored: StoredApp) {
        let mut known = self.known();
        known.touched.insert(stored.app.id.clone());
        self.put(&mut known, vec![stored]);
    }

    /// Forgets an app that the store has deleted. Its keys are unknown from now on.
    pub fn forget(&self, id: &str) {
        let mut known = self.known();
        known.touched.insert(id.to_owned());
        self.remove(&mut known, vec![id.to_owned()]);
    }

    /// Opens a poll: what changes locally from here on is newer than what the poll may say.
    pub(crate) fn poll_begins(&self) -> Instant {
        self.known().touched.clear();
        Instant::now()
    }

    /// Takes what a poll has read. `false` if something of it had to be passed over, because it may be older than a
    /// local change: the next poll must go on from the same mark.
    pub(crate) fn poll_ends(&self, begun: Instant, changes: Changes) -> bool {
        let mut known = self.known();
        let Changes { upserts, deleted, complete, .. } = changes;
        let told = upserts.len() + deleted.len();
        let is_newer = |known: &Known, id: &String| known.open.contains(id) || known.touched.contains(id);

        let mut gone = deleted;
        if complete {
            let there: HashSet<&str> = upserts.iter().map(|stored| stored.app.id.as_str()).collect();
            gone.extend(known.apps.keys().filter(|id| !there.contains(id.as_str())).cloned());
        }
        let all = upserts.len() + gone.len();
        let upserts: Vec<_> =
            upserts.into_iter().filter(|stored| !is_newer(&known, &stored.app.id)).collect();
        let gone: Vec<_> = gone.into_iter().filter(|id| !is_newer(&known, id)).collect();
        let passed_over = all - upserts.len() - gone.len();

        self.remove(&mut known, gone);
        self.put(&mut known, upserts);
        drop(known);
        let heard = begun.duration_since(self.born).as_millis();
        self.last_success.store(u64::try_from(heard).unwrap_or(u64::MAX - 1) + 1, Ordering::Release);
        if told > 0 {
            tracing::debug!(told, passed_over, complete, "apps changed in the store");
        }
        passed_over == 0
    }

    /// The uses that the store has not been told of.
    pub(crate) fn untold_uses(&self) -> Vec<(Arc<AppEntry>, i64)> {
        let known = self.known();
        known.apps.values().filter_map(|app| Some((Arc::clone(app), app.uses.untold()?))).collect()
    }

    fn put(&self, known: &mut Known, upserts: Vec<StoredApp>) {
        let mut edits = Vec::with_capacity(upserts.len());
        for stored in upserts {
            let id = stored.app.id.clone();
            let before = known.apps.get(&id);
            let (app, keys) = AppEntry::of(stored, before.map(Arc::as_ref));
            if let Some(before) = before {
                let ended = before.digests.iter().filter(|digest| !app.digests.contains(digest));
                edits.extend(ended.map(|digest| (*digest, Edit::Remove(id.clone()))));
            }
            edits.extend(keys.into_iter().map(|(digest, entry)| (digest, Edit::Put(entry))));
            known.apps.insert(id, app);
        }
        self.shards.edit(edits);
    }

    fn remove(&self, known: &mut Known, ids: Vec<String>) {
        let mut edits = Vec::new();
        for id in ids {
            let Some(app) = known.apps.remove(&id) else { continue };
            edits.extend(app.digests.iter().map(|digest| (*digest, Edit::Remove(id.clone()))));
        }
        self.shards.edit(edits);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing under this lock panics halfway through a change of `Known` itself.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Apps for Directory {
    fn lookup(&self, key: &str) -> Lookup {
        let Some(digest) = key::digest_of_sent(key) else { return Lookup::Unknown };
        let now = Timestamp::now();
        let ended = |until: Option<Timestamp>| until.is_some_and(|until| until <= now);
        let Some(entry) = self.shards.get(&digest) else {
            let fresh = self.age().is_some_and(|age| age <= FRESH.min(self.staleness));
            return if fresh { Lookup::Unknown } else { Lookup::Unavailable };
        };
        if ended(entry.valid_until) {
            return Lookup::Unknown;
        }
        if entry.app.status == AppStatus::Disabled {
            return Lookup::Disabled(entry.consumer);
        }
        if ended(entry.app.expire_time) {
            return Lookup::Expired(entry.consumer);
        }
        if !self.is_ready() {
            return Lookup::Unavailable;
        }
        entry.app.uses.note(now);
        Lookup::Granted(entry.consumer)
    }
}

/// A local change of one app, from before the store is asked until its answer is in force here.
///
/// Dropped without an answer (the store failed, the client left) it changes nothing: the next poll says what is.
#[must_use = "a change is in force here once its answer is handed over"]
pub struct Change<'a> {
    directory: &'a Directory,
    id: String,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl Change<'_> {
    /// The store has acknowledged the change: this is the app now.
    pub fn apply(self, stored: StoredApp) {
        self.directory.put(&mut self.directory.known(), vec![stored]);
    }

    /// The store has deleted the app, or has none of that id.
    pub fn forget(self) {
        self.directory.remove(&mut self.directory.known(), vec![self.id.clone()]);
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let mut known = self.directory.known();
        known.open.remove(&self.id);
        // Whatever a poll in flight has read of this app may be from before.
        known.touched.insert(std::mem::take(&mut self.id));
    }
}

#[cfg(test)]
mod tests;
