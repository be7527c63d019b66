//! The traits: what a store of apps and a store of access-log records promise.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use vllm_gateway_record::{Record, Records};

use crate::{
    App, AppChange, AppQuery, Appended, ChangeMark, Changes, LogQuery, Pace, Page, StoreError, StoredApp,
    UsageQuery, UsageRow,
};

/// Which kind of store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A file on this machine.
    Sqlite,
    /// A server, which several gateways may share.
    Mongodb,
}

impl StoreKind {
    /// The name as it stands in `gateway.toml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Mongodb => "mongodb",
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The apps and the digests of their keys.
///
/// Every call may be dropped at any point: a change happens wholly or not at all, and one that happened is
/// seen by [`changes`](Self::changes).
#[async_trait]
pub trait AppStore: Send + Sync {
    /// Which store this is: a random name that it was given when its schema was made, and that goes with its data into
    /// every copy of them. A database that was lost and made anew has another one, under the same address.
    async fn identity(&self) -> Result<String, StoreError>;

    /// Adds an app. [`StoreError::Conflict`] if its id or the digest of one of its keys is taken.
    async fn insert(&self, app: &StoredApp) -> Result<(), StoreError>;

    /// The app of that id.
    async fn get(&self, id: &str) -> Result<Option<StoredApp>, StoreError>;

    /// A page of apps, newest first. Pages count from 1; `page_size` is 1 to
    /// [`MAX_PAGE_SIZE`](crate::MAX_PAGE_SIZE).
    async fn list(&self, query: &AppQuery, page_num: u64, page_size: u32) -> Result<Page<App>, StoreError>;

    /// Changes an app in one step and returns it as it is then; `None` if there is none of that id.
    async fn update(&self, id: &str, change: AppChange) -> Result<Option<StoredApp>, StoreError>;

    /// Removes an app with its keys; `false` if there is none of that id. Its records and usage stay.
    async fn delete(&self, id: &str) -> Result<bool, StoreError>;

    /// What has changed since that mark, by whomever. Cheap when nothing has; meant to be asked every second
    /// or two.
    ///
    /// Nothing that was committed is ever missed; the same change may be told more than once, and an app
    /// comes as it is now, not as it was after each change. With [`ChangeMark::start`], or a mark that the
    /// store no longer knows (too old, or the store was replaced), the answer is `complete`: everything there
    /// is.
    async fn changes(&self, since: &ChangeMark) -> Result<Changes, StoreError>;

    /// Calls `changed` as soon as an app may have changed, by whomever, for as long as it is polled; once at the
    /// beginning too, for what came before. It says only that it is time to ask [`changes`](Self::changes): what
    /// is missed here, because this breaks or because nobody listened, is still told there.
    ///
    /// `Ok` at once from a store that cannot tell. An error when listening failed or ended: begin again.
    async fn watch(&self, changed: &(dyn Fn() + Send + Sync)) -> Result<(), StoreError> {
        let _ = changed;
        Ok(())
    }

    /// Notes when apps were last used. Times never go back, unknown ids are passed over, and it does not
    /// count as a change.
    async fn touch(&self, uses: &[(String, Timestamp)]) -> Result<(), StoreError>;
}

/// The access-log records and the usage counted from them.
#[async_trait]
pub trait LogStore: Send + Sync {
    /// Stores records, idempotent by their id: one that is there already counts as stored.
    ///
    /// A record that cannot be stored is reported in [`Appended::rejected`] and does not stop the others. On
    /// an error any part of the records may have been stored: append all of them again. `pace` says whether what it
    /// takes of this machine's processors gives way to other work.
    async fn append_records(&self, records: &Records, pace: Pace) -> Result<Appended, StoreError>;

    /// The same of records that are each for itself in memory.
    async fn append(&self, records: &[Record]) -> Result<Appended, StoreError> {
        self.append_records(&records.into(), Pace::STEADY).await
    }

    /// A page of records, newest first. Pages count from 1; `page_size` is 1 to
    /// [`MAX_PAGE_SIZE`](crate::MAX_PAGE_SIZE).
    async fn page(&self, query: &LogQuery, page_num: u64, page_size: u32)
    -> Result<Page<Record>, StoreError>;

    /// Records, newest first, from where the last call ended: `None` as cursor starts, `None` back is the
    /// end.
    ///
    /// The cursor is a place in the order of (time, id), so records that are added or purged meanwhile move
    /// nothing. It is valid for ever, for any query, on any gateway. `limit` is 1 to
    /// [`MAX_EXPORT`](crate::MAX_EXPORT).
    async fn export(
        &self,
        query: &LogQuery,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<Record>, Option<String>), StoreError>;

    /// What was used, counted in whole hours (UTC). Exact, and it outlives the records and the apps.
    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError>;

    /// Removes up to `max` records older than `before`, oldest first, and says how many. Works in small
    /// slices that let writers through; call it again while it returns `max`. The usage of what it removes
    /// stays.
    ///
    /// Purged ids stay known for a day, so a batch shipped again after an unknown outcome is not counted
    /// twice.
    async fn purge(&self, before: Timestamp, max: u64) -> Result<u64, StoreError>;

    /// Housekeeping: brings the hourly roll-ups up to date and forgets what has served its time. Call it
    /// every minute or so; usage is exact without it, only slower to ask for. Returns the number of hours
    /// rolled up.
    async fn roll_up(&self) -> Result<u64, StoreError>;
}

/// A store of both, which can be asked how it is.
#[async_trait]
pub trait Store: AppStore + LogStore {
    /// Whether the store answers, within its deadlines.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Finishes what has been handed over and lets go of files and connections. Later calls fail as
    /// unavailable.
    async fn close(&self);

    /// Which kind it is.
    fn kind(&self) -> StoreKind;
}
