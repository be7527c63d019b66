//! Apps, the digests of their keys, and how changes of them are told.

use std::fmt;
use std::hash::{Hash, Hasher};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::StoreError;
use crate::check::{self, MAX_KEYS};

/// Whether an app is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppStatus {
    /// Its keys work.
    Enabled,
    /// Its keys are refused.
    Disabled,
}

impl AppStatus {
    /// The name that stands in JSON, in stores and in queries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }

    /// The status of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Enabled, Self::Disabled].into_iter().find(|status| status.as_str() == name)
    }
}

/// An app as the admin side shows it. It serialises as `/api/apps` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// Its id, given by the gateway.
    pub id: String,
    /// The organisation's name.
    pub org_name: String,
    /// The first 16 characters of its newest key.
    pub key_prefix: String,
    /// Whether it is let in.
    pub status: AppStatus,
    /// When it was made.
    pub create_time: Timestamp,
    /// When its keys end to work; `None` never.
    pub expire_time: Option<Timestamp>,
    /// When one of its keys was last used.
    pub last_used_time: Option<Timestamp>,
    /// A note for humans.
    pub remark: Option<String>,
    /// The models it may use: `None` all, an empty list none.
    pub allowed_models: Option<Vec<String>>,
}

/// The SHA-256 digest of a key. Compared in constant time; its `Debug` shows nothing of it.
#[derive(Clone, Copy)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for KeyDigest {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(***)")
    }
}

impl PartialEq for KeyDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyDigest {}

impl Hash for KeyDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// What is kept of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppKey {
    /// SHA-256 of the key.
    pub digest: KeyDigest,
    /// Its first 16 characters.
    pub prefix: String,
    /// Until when it works, after a newer one took its place; `None` for the current key.
    pub valid_until: Option<Timestamp>,
}

/// An app together with its keys, the current one first. Two are equal that say the same of the app; the version
/// only says which of them is the later.
#[derive(Clone, Debug)]
pub struct StoredApp {
    /// The app.
    pub app: App,
    /// Its keys: the current one, then those in their grace time. Ended ones may still be there: look at
    /// [`AppKey::valid_until`].
    pub keys: Vec<AppKey>,
    /// Of two states of one app in one store, the one with the higher version is the later. 0 before it is stored.
    pub version: u64,
}

impl PartialEq for StoredApp {
    fn eq(&self, other: &Self) -> bool {
        self.app == other.app && self.keys == other.keys
    }
}

impl Eq for StoredApp {}

impl StoredApp {
    /// An app that is yet to be stored.
    #[must_use]
    pub const fn new(app: App, keys: Vec<AppKey>) -> Self {
        Self { app, keys, version: 0 }
    }

    /// Makes a change, as every store does it.
    pub(crate) fn apply(&mut self, change: AppChange, now: Timestamp) -> Result<(), StoreError> {
        match change {
            AppChange::Details { org_name, expire_time, remark, allowed_models } => {
                self.app.org_name = org_name;
                self.app.expire_time = expire_time;
                self.app.remark = remark;
                self.app.allowed_models = allowed_models;
            }
            AppChange::Status(status) => self.app.status = status,
            AppChange::Rotate { new, old_valid_until } => self.rotate(new, old_valid_until, now)?,
        }
        Ok(())
    }

    fn rotate(
        &mut self,
        new: AppKey,
        old_valid_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if self.keys.iter().any(|key| key.digest == new.digest) {
            return Err(StoreError::conflict("the new key is one that the app has already"));
        }
        for old in &mut self.keys {
            // A rotation never lengthens the life of a key.
            let end = old_valid_until.unwrap_or(now);
            old.valid_until = Some(old.valid_until.map_or(end, |until| until.min(end)));
        }
        self.keys.retain(|old| old.valid_until.is_some_and(|until| until > now));
        if self.keys.len() >= MAX_KEYS {
            return Err(check::too_many_keys());
        }
        self.app.key_prefix.clone_from(&new.prefix);
        self.keys.insert(0, new);
        Ok(())
    }
}

/// Which apps a list shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppQuery {
    /// A part of the organisation's name, in upper or lower case, taken literally.
    pub org_name: Option<String>,
    /// Only apps of that status.
    pub status: Option<AppStatus>,
}

/// One change of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppChange {
    /// Everything that is written in the app's form; what is `None` is cleared.
    Details {
        /// The organisation's name.
        org_name: String,
        /// When its keys end to work.
        expire_time: Option<Timestamp>,
        /// A note for humans.
        remark: Option<String>,
        /// The models it may use.
        allowed_models: Option<Vec<String>>,
    },
    /// Lets it in, or not.
    Status(AppStatus),
    /// A new key. [`StoreError::Conflict`](crate::StoreError::Conflict) if its digest is taken.
    Rotate {
        /// The key that is current from now on.
        new: AppKey,
        /// How long the older keys still work, unless they end earlier anyway; `None`: they end now.
        old_valid_until: Option<Timestamp>,
    },
}

/// What has changed since a mark.
#[derive(Clone, Debug)]
pub struct Changes {
    /// New and changed apps, as they are now.
    pub upserts: Vec<StoredApp>,
    /// Ids of apps that are gone.
    pub deleted: Vec<String>,
    /// `upserts` is everything there is: forget whatever else is known.
    pub complete: bool,
    /// Where the next call goes on.
    pub mark: ChangeMark,
}

/// A place in a store's history of changes; only the store that gave it can read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeMark(pub(crate) Mark);

impl ChangeMark {
    /// Before everything.
    #[must_use]
    pub const fn start() -> Self {
        Self(Mark::Start)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    #[default]
    Start,
    /// The database file and its revision.
    Sqlite { epoch: Uuid, revision: i64 },
    /// The last announcement that was read (see `mongo::feed`).
    Mongodb { announcement: String },
}
