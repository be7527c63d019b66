//! The directory: whose key is this, answered from memory.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use vllm_gateway_sdk::{Apps, Lookup};
use vllm_gateway_store::{AppStatus, ChangeMark, Changes, StoredApp};

use crate::Change;
use crate::copy::LocalCopy;
use crate::entry::{AppEntry, KnownApp};
use crate::freshness::{Freshness, Moment};
use crate::home::Home;
use crate::key;
use crate::known::Known;
use crate::shards::{Edit, Shards};

/// How often the store is asked. A change made elsewhere is in force here after this and the time of one poll; the
/// promise is 5 s. From a store that tells of changes by itself it is heard sooner.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// Every app, in memory.
///
/// While the store is away, known keys keep working up to the staleness limit, and what is not known gets neither
/// yes nor no ([`Lookup::Unavailable`]).
pub struct Directory {
    shards: Shards,
    known: Mutex<Known>,
    /// Held for the whole of a local change; by a hash of the app's id, so that one slow change holds up few others.
    changing: [tokio::sync::Mutex<()>; 16],
    /// Where the next poll goes on; held while one runs.
    pub(crate) mark: tokio::sync::Mutex<ChangeMark>,
    pub(crate) freshness: Freshness,
    pub(crate) home: Home,
    pub(crate) copy: Option<LocalCopy>,
    pub(crate) poll_every: Duration,
    /// The store should be asked now.
    pub(crate) wake: Notify,
    /// The local copy may be behind.
    pub(crate) news: Notify,
}

impl Directory {
    /// An empty directory, which says [`Lookup::Unavailable`] until [`sync`](Self::sync) has loaded it. Known keys
    /// are served for `max_staleness` after the store was last heard.
    #[must_use]
    pub fn new(max_staleness: Duration) -> Self {
        Self {
            shards: Shards::new(),
            known: Mutex::default(),
            changing: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            mark: tokio::sync::Mutex::default(),
            freshness: Freshness::new(max_staleness),
            home: Home::default(),
            copy: None,
            poll_every: POLL_EVERY,
            wake: Notify::new(),
            news: Notify::new(),
        }
    }

    /// A directory that keeps a copy of the apps in the file `path`, and begins with what such a copy says that an
    /// earlier process has left. `store` names the store: a copy of another one is not used.
    pub async fn with_copy(max_staleness: Duration, path: PathBuf, store: &str) -> Self {
        let mut directory = Self::new(max_staleness);
        let copy = LocalCopy::new(path, store);
        if let Some(restored) = copy.restore(max_staleness).await {
            directory.home.restored(restored.of);
            if let Some((apps, age)) = restored.known {
                directory.freshness.restored(age);
                directory.put(&mut directory.known(), apps);
            }
        }
        directory.copy = Some(copy);
        directory
    }

    /// Whether it can tell whose key is whose: loaded, and not staler than allowed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.freshness.is_within(Timestamp::now())
    }

    /// How long ago the store was last heard, be it by an earlier process; `None` if never.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.freshness.age(Timestamp::now())
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
    /// Until the result is gone, other local changes of the app wait.
    pub async fn change(&self, id: &str) -> Change<'_> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let [first, ..] = hasher.finish().to_le_bytes();
        let turn = self.changing[usize::from(first) % self.changing.len()].lock().await;
        self.known().open(id);
        Change::new(self, id.to_owned(), turn)
    }

    /// The answer to an open change; `false` if it was overtaken.
    pub(crate) fn put_answer(&self, stored: StoredApp) -> bool {
        let mut known = self.known();
        let counts = known.counts(&stored.app.id, stored.version);
        if counts {
            self.put(&mut known, vec![stored.into()]);
        }
        counts
    }

    pub(crate) fn remove_answer(&self, id: &str) {
        self.remove(&mut self.known(), vec![id.to_owned()]);
    }

    pub(crate) fn close(&self, id: String) {
        self.known().close(id);
    }

    /// Opens a poll: what changes locally from here on may be newer than what the poll says.
    pub(crate) fn poll_begins(&self) -> Moment {
        self.known().poll_begins();
        Moment::now()
    }

    /// Takes what a poll has read. `false` if it may have crossed a local change: the next poll must go on from the
    /// same mark.
    pub(crate) fn poll_ends(&self, begun: Moment, changes: Changes) -> bool {
        let mut known = self.known();
        let Changes { upserts, deleted: mut gone, complete, .. } = changes;
        let told = upserts.len() + gone.len();
        if complete {
            let there: HashSet<&str> = upserts.iter().map(|stored| stored.app.id.as_str()).collect();
            gone.extend(known.apps.keys().filter(|id| !there.contains(id.as_str())).cloned());
        }
        let (mut taken, mut left, mut crossed) = (Vec::new(), Vec::new(), 0_usize);
        for id in gone {
            let verdict = known.judge_gone(&id);
            crossed += usize::from(verdict.crossed);
            left.extend(verdict.take.then_some(id));
        }
        for stored in upserts {
            let verdict = known.judge(&stored, complete);
            crossed += usize::from(verdict.crossed);
            taken.extend(verdict.take.then(|| KnownApp::from(stored)));
        }
        self.remove(&mut known, left);
        self.put(&mut known, taken);
        drop(known);
        self.freshness.heard(begun);
        if told > 0 {
            tracing::debug!(told, crossed, complete, "apps changed in the store");
        }
        crossed == 0
    }

    /// The uses that the store has not been told of.
    pub(crate) fn untold_uses(&self) -> Vec<(Arc<AppEntry>, i64)> {
        let known = self.known();
        known.apps.values().filter_map(|app| Some((Arc::clone(app), app.uses.untold()?))).collect()
    }

    /// How many changes were put in force.
    pub(crate) fn generation(&self) -> u64 {
        self.known().generation
    }

    /// Everything that is in force, of one moment, and the count of changes that led there.
    pub(crate) fn everything(&self) -> (u64, Vec<KnownApp>) {
        let known = self.known();
        let apps = known.apps.values().filter_map(|app| {
            let key_of = |digest| {
                let key = self.shards.get(digest).filter(|key| key.app.id == app.id)?;
                Some((*digest, key))
            };
            let keys: Vec<_> = app.digests.iter().filter_map(key_of).collect();
            app.known(&keys)
        });
        (known.generation, apps.collect())
    }

    fn put(&self, known: &mut Known, apps: Vec<KnownApp>) {
        let mut edits = Vec::with_capacity(apps.len());
        for app in apps {
            let id = app.id.clone();
            let before = known.apps.get(&id);
            let (app, keys) = AppEntry::of(app, before.map(Arc::as_ref));
            if let Some(before) = before {
                let ended = before.digests.iter().filter(|digest| !app.digests.contains(digest));
                edits.extend(ended.map(|digest| (*digest, Edit::Remove(id.clone()))));
            }
            edits.extend(keys.into_iter().map(|(digest, entry)| (digest, Edit::Put(entry))));
            known.apps.insert(id, app);
            known.generation += 1;
        }
        self.shards.edit(edits);
    }

    fn remove(&self, known: &mut Known, ids: Vec<String>) {
        let mut edits = Vec::new();
        for id in ids {
            let Some(app) = known.apps.remove(&id) else { continue };
            edits.extend(app.digests.iter().map(|digest| (*digest, Edit::Remove(id.clone()))));
            known.generation += 1;
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
            return if self.freshness.is_live(now) { Lookup::Unknown } else { Lookup::Unavailable };
        };
        // The end of a grace time never moves to later; anything else may have changed since the store was heard.
        if ended(entry.valid_until) {
            return Lookup::Unknown;
        }
        if !self.freshness.is_within(now) {
            return Lookup::Unavailable;
        }
        if entry.app.status == AppStatus::Disabled {
            return Lookup::Disabled(entry.consumer);
        }
        if ended(entry.app.expire_time) {
            return Lookup::Expired(entry.consumer);
        }
        entry.app.uses.note(now);
        Lookup::Granted(entry.consumer)
    }
}

#[cfg(test)]
pub(crate) mod tests;
