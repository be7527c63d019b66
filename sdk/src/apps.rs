//! Apps and their keys, as a plugin may ask for them: from memory, never from the store.

use std::sync::Arc;

/// Who a request acts for: an app, or what a plugin of one's own says.
#[derive(Clone, Debug, Default)]
pub struct Consumer {
    /// The app's id; what records and usage are kept by.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// First characters of the key that was shown, enough to tell keys apart and no more.
    pub key_prefix: String,
    /// The models it may use; `None` allows all, an empty list none.
    pub allowed_models: Option<Vec<String>>,
}

impl Consumer {
    /// Whether it may use this model. Names are compared byte by byte.
    #[must_use]
    pub fn may_use(&self, model: &str) -> bool {
        self.allowed_models.as_ref().is_none_or(|models| models.iter().any(|allowed| allowed == model))
    }
}

/// What is known of a key.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// It belongs to an app that may be served now.
    Granted(Arc<Consumer>),
    /// Its app is disabled.
    Disabled(Arc<Consumer>),
    /// Its app has expired.
    Expired(Arc<Consumer>),
    /// Nobody has it.
    Unknown,
    /// Not known here, and the store cannot be asked: neither yes nor no.
    Unavailable,
}

/// The directory of apps, kept in memory and in step with the store.
pub trait Apps: Send + Sync {
    /// Says whose key this is. Never blocks.
    fn lookup(&self, key: &str) -> Lookup;
}

/// A directory without apps, for `check`, which builds pipelines without a store.
#[derive(Debug)]
pub struct NoApps;

impl Apps for NoApps {
    fn lookup(&self, _key: &str) -> Lookup {
        Lookup::Unknown
    }
}
