//! A database that cannot be opened yet: locked by another process, damaged, on a disk that hangs. It is tried again
//! until it can, and until then every call says why not.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::task::JoinHandle;
use vllm_gateway_record::{Record, Records};

use super::{SqliteStore, open_sqlite};
use crate::{
    App, AppChange, AppQuery, AppStore, Appended, ChangeMark, Changes, LogQuery, LogStore, Pace, Page, Store,
    StoreError, StoreKind, StoredApp, UsageQuery, UsageRow,
};

/// How long a caller waits for a database that may only be slow to open.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_secs(1);

/// Opens the database of that path as [`open_sqlite`] does, but does not insist: where that fails or takes long, the
/// store is opened in the background, and unavailable meanwhile. [`StoreError::Invalid`] still fails: waiting does not
/// help a file that is not ours.
pub async fn open_sqlite_later(path: impl Into<PathBuf>) -> Result<Arc<dyn Store>, StoreError> {
    let path = path.into();
    let mut attempt = tokio::spawn(open_sqlite(path.clone()));
    let (reason, attempt) = match tokio::time::timeout(PATIENCE, &mut attempt).await {
        Ok(Ok(Ok(store))) => return Ok(Arc::new(store)),
        Ok(Ok(Err(error @ StoreError::Invalid { .. }))) => return Err(error),
        Ok(Ok(Err(error))) => (error.full(), None),
        Ok(Err(panicked)) => (panicked.to_string(), None),
        Err(_elapsed) => (format!("{}: it takes long to open", path.display()), Some(attempt)),
    };
    tracing::error!(reason, "the database cannot be opened yet, trying on");
    let opening = Arc::new(Opening { store: OnceLock::new(), reason: Mutex::new(reason) });
    let opener = tokio::spawn(keep_opening(path, Arc::clone(&opening), attempt));
    Ok(Arc::new(LaterSqlite { opening, opener }))
}

struct LaterSqlite {
    opening: Arc<Opening>,
    opener: JoinHandle<()>,
}

struct Opening {
    store: OnceLock<SqliteStore>,
    /// Why it is not open.
    reason: Mutex<String>,
}

/// One attempt after the other: a disk that hangs holds one thread, however long.
async fn keep_opening(
    path: PathBuf,
    opening: Arc<Opening>,
    first: Option<JoinHandle<Result<SqliteStore, StoreError>>>,
) {
    let mut next = first;
    loop {
        let attempt = next.take().unwrap_or_else(|| tokio::spawn(open_sqlite(path.clone())));
        let reason = match attempt.await {
            Ok(Ok(store)) => {
                tracing::info!("the database is open");
                let _ = opening.store.set(store);
                return;
            }
            Ok(Err(error)) => error.full(),
            Err(panicked) => panicked.to_string(),
        };
        *opening.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        tokio::time::sleep(PAUSE).await;
    }
}

impl LaterSqlite {
    fn store(&self) -> Result<&SqliteStore, StoreError> {
        self.opening.store.get().ok_or_else(|| {
            let reason = self.opening.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
            StoreError::unavailable(format!("the database is not open yet: {reason}"))
        })
    }
}

impl Drop for LaterSqlite {
    fn drop(&mut self) {
        self.opener.abort();
    }
}

#[async_trait]
impl AppStore for LaterSqlite {
    async fn identity(&self) -> Result<String, StoreError> {
        self.store()?.identity().await
    }

    async fn insert(&self, app: &StoredApp) -> Result<(), StoreError> {
        self.store()?.insert(app).await
    }

    async fn get(&self, id: &str) -> Result<Option<StoredApp>, StoreError> {
        self.store()?.get(id).await
    }

    async fn list(&self, query: &AppQuery, page_num: u64, page_size: u32) -> Result<Page<App>, StoreError> {
        self.store()?.list(query, page_num, page_size).await
    }

    async fn update(&self, id: &str, change: AppChange) -> Result<Option<StoredApp>, StoreError> {
        self.store()?.update(id, change).await
    }

    async fn delete(&self, id: &str) -> Result<bool, StoreError> {
        self.store()?.delete(id).await
    }

    async fn changes(&self, since: &ChangeMark) -> Result<Changes, StoreError> {
        self.store()?.changes(since).await
    }

    async fn touch(&self, uses: &[(String, Timestamp)]) -> Result<(), StoreError> {
        self.store()?.touch(uses).await
    }
}

#[async_trait]
impl LogStore for LaterSqlite {
    async fn append_records(&self, records: &Records, pace: Pace) -> Result<Appended, StoreError> {
        self.store()?.append_records(records, pace).await
    }

    async fn page(
        &self,
        query: &LogQuery,
        page_num: u64,
        page_size: u32,
    ) -> Result<Page<Record>, StoreError> {
        self.store()?.page(query, page_num, page_size).await
    }

    async fn export(
        &self,
        query: &LogQuery,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<Record>, Option<String>), StoreError> {
        self.store()?.export(query, cursor, limit).await
    }

    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        self.store()?.usage(query).await
    }

    async fn purge(&self, before: Timestamp, max: u64) -> Result<u64, StoreError> {
        self.store()?.purge(before, max).await
    }

    async fn roll_up(&self) -> Result<u64, StoreError> {
        self.store()?.roll_up().await
    }
}

#[async_trait]
impl Store for LaterSqlite {
    async fn ping(&self) -> Result<(), StoreError> {
        self.store()?.ping().await
    }

    async fn close(&self) {
        self.opener.abort();
        if let Some(store) = self.opening.store.get() {
            store.close().await;
        }
    }

    fn kind(&self) -> StoreKind {
        StoreKind::Sqlite
    }
}
