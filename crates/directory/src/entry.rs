//! What the directory keeps of an app and of each of its keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use vllm_gateway_sdk::Consumer;
use vllm_gateway_store::{AppKey, AppStatus, KeyDigest, StoredApp};

/// What matters here of an app, as the store or the local copy has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownApp {
    pub(crate) id: String,
    pub(crate) org_name: String,
    pub(crate) status: AppStatus,
    pub(crate) expire_time: Option<Timestamp>,
    pub(crate) allowed_models: Option<Vec<String>>,
    pub(crate) keys: Vec<AppKey>,
    pub(crate) version: u64,
}

impl From<StoredApp> for KnownApp {
    fn from(stored: StoredApp) -> Self {
        let StoredApp { app, keys, version } = stored;
        Self {
            id: app.id,
            org_name: app.org_name,
            status: app.status,
            expire_time: app.expire_time,
            allowed_models: app.allowed_models,
            keys,
            version,
        }
    }
}

/// An app, shared by the entries of its keys.
#[derive(Debug)]
pub(crate) struct AppEntry {
    pub(crate) id: String,
    pub(crate) status: AppStatus,
    pub(crate) expire_time: Option<Timestamp>,
    pub(crate) digests: Vec<KeyDigest>,
    pub(crate) version: u64,
    /// Outlives the entry: a change of the app does not lose its last use.
    pub(crate) uses: Arc<Uses>,
}

/// A key that was given out.
#[derive(Clone, Debug)]
pub(crate) struct KeyEntry {
    pub(crate) app: Arc<AppEntry>,
    pub(crate) consumer: Arc<Consumer>,
    pub(crate) valid_until: Option<Timestamp>,
}

impl AppEntry {
    /// The entries of an app; `before` is what was known of it.
    pub(crate) fn of(app: KnownApp, before: Option<&Self>) -> (Arc<Self>, Vec<(KeyDigest, KeyEntry)>) {
        let KnownApp { id, org_name, status, expire_time, allowed_models, keys, version } = app;
        let entry = Arc::new(Self {
            id: id.clone(),
            status,
            expire_time,
            digests: keys.iter().map(|key| key.digest).collect(),
            version,
            uses: before.map(|before| Arc::clone(&before.uses)).unwrap_or_default(),
        });
        let entries = keys.into_iter().map(|key| {
            let consumer = Arc::new(Consumer {
                id: id.clone(),
                name: org_name.clone(),
                key_prefix: key.prefix,
                allowed_models: allowed_models.clone(),
            });
            (key.digest, KeyEntry { app: Arc::clone(&entry), consumer, valid_until: key.valid_until })
        });
        let entries = entries.collect();
        (entry, entries)
    }

    /// The app as it was given to [`of`](Self::of), from the entries of its keys; `None` without any: nobody can
    /// be let in by it.
    pub(crate) fn known(&self, keys: &[(KeyDigest, KeyEntry)]) -> Option<KnownApp> {
        let (_, first) = keys.first()?;
        let key_of = |(digest, key): &(KeyDigest, KeyEntry)| AppKey {
            digest: *digest,
            prefix: key.consumer.key_prefix.clone(),
            valid_until: key.valid_until,
        };
        Some(KnownApp {
            id: self.id.clone(),
            org_name: first.consumer.name.clone(),
            status: self.status,
            expire_time: self.expire_time,
            allowed_models: first.consumer.allowed_models.clone(),
            keys: keys.iter().map(key_of).collect(),
            version: self.version,
        })
    }
}

/// When an app was last used, and what of it the store knows, in milliseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    last: AtomicI64,
    told: AtomicI64,
}

/// A use this soon after the last one noted is not noted: the counter of a busy app would travel between the
/// processors' caches with every request.
const GRAIN_MS: i64 = 100;

impl Uses {
    pub(crate) fn note(&self, now: Timestamp) {
        let now = now.as_millisecond();
        if now >= self.last.load(Ordering::Relaxed).saturating_add(GRAIN_MS) {
            self.last.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// The last use, if the store has not been told of it.
    pub(crate) fn untold(&self) -> Option<i64> {
        let last = self.last.load(Ordering::Relaxed);
        (last > self.told.load(Ordering::Relaxed)).then_some(last)
    }

    pub(crate) fn tell(&self, last: i64) {
        self.told.fetch_max(last, Ordering::Relaxed);
    }
}
