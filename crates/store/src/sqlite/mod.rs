//! The embedded store: one SQLite file, which needs no server.
//!
//! - **Threads.** One thread writes, three read; callers hand them jobs through bounded queues (`worker`). A
//!   query that runs longer than 5 s is ended, a caller waits 10 s at most. Records that nobody is in a hurry for
//!   ([`Pace`]) are written while a processor has nothing else to do, which another thread tells (`usher`), and as soon
//!   as somebody else wants to write, what is written of them is committed.
//! - **Durability.** Write-ahead log with `synchronous = NORMAL`: a crash of the gateway loses nothing; a
//!   power cut may lose the last transactions, never the file. Records are kept in the gateway's journal
//!   until they are stored; whoever needs more than that runs MongoDB.
//! - **Files.** The folder and the file are made when missing, for the owner only (0700, 0600). `-wal` and
//!   `-shm` lie beside it and belong to it. The file must be on a local disk: SQLite's locks need one.
//! - **Sharing.** Several processes on one machine may open the same file; they wait for one another up to 5
//!   s. Two *gateways* must not: what else a gateway keeps, in memory and beside the file, is its own. It takes
//!   the `lock` before it opens the file, which nobody else needs.
//! - **Records** are appended: to a table, to an index of their order and to one of request ids, all three at or near
//!   their ends. By app, model, outcome and status they are counted by the batch, in ten seconds each (`slots`), which
//!   says where to look (`search`).
//! - **Usage** is counted in the transaction that inserts the records. Nothing can come between the two.

mod apps;
mod calmly;
mod changes;
mod later;
mod lock;
mod log;
mod open;
mod purge;
pub(crate) mod records;
mod rest;
mod schema;
mod search;
mod slots;
mod tally;
mod usage;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use vllm_gateway_record::{Record, Records};

use self::calmly::Gait;
pub use self::later::open_sqlite_later;
pub use self::lock::{SqliteLock, lock_sqlite};
use self::worker::{Caller, Workers};
use crate::usher::Usher;
use crate::{
    App, AppChange, AppQuery, AppStore, Appended, ChangeMark, Changes, LogQuery, LogStore, Pace, Page, Store,
    StoreError, StoreKind, StoredApp, UsageQuery, UsageRow, check, cursor,
};

/// How many threads answer questions.
const READERS: usize = 3;
/// So long a batch may take before it ends where it is, if somebody waits behind it.
const SOON: Duration = Duration::from_millis(50);

/// A store in a SQLite file.
pub struct SqliteStore {
    writer: Arc<Workers>,
    /// Tells it when there is time for what can wait.
    usher: Arc<Usher>,
    readers: Arc<Workers>,
}

/// Opens the database of that path, made when missing. [`StoreError::Invalid`] if it is not ours or of a
/// newer version.
pub async fn open_sqlite(path: impl Into<PathBuf>) -> Result<SqliteStore, StoreError> {
    open_within(path.into(), worker::LONGEST_QUERY).await
}

/// The same with another bound on the time that a query may take.
pub(crate) async fn open_within(path: PathBuf, longest: Duration) -> Result<SqliteStore, StoreError> {
    // Opening may wait for another process and for a migration: not on a thread of the runtime.
    let opened = tokio::task::spawn_blocking(move || {
        let writer = open::writer(&path)?;
        let readers = (0..READERS).map(|_| open::reader(&path)).collect::<Result<_, _>>()?;
        let start = |name, connections| Workers::start(name, connections, longest).map(Arc::new);
        let usher =
            Usher::start().map_err(|error| StoreError::internal("cannot start a thread").because(error))?;
        Ok(SqliteStore {
            writer: start("sqlite-writer", vec![writer])?,
            usher: Arc::new(usher),
            readers: start("sqlite-reader", readers)?,
        })
    });
    opened.await.map_err(|error| StoreError::internal("opening the database panicked").because(error))?
}

#[async_trait]
impl AppStore for SqliteStore {
    async fn identity(&self) -> Result<String, StoreError> {
        self.readers.read(|connection| changes::epoch(connection)).await
    }

    async fn insert(&self, app: &StoredApp) -> Result<(), StoreError> {
        check::app(app)?;
        let app = app.clone();
        self.writer.write(move |connection| apps::insert(connection, &app)).await
    }

    async fn get(&self, id: &str) -> Result<Option<StoredApp>, StoreError> {
        let id = id.to_owned();
        self.readers
            .read(move |connection| {
                // One transaction: the app and its keys are of the same moment.
                let transaction = connection.transaction().map_err(failed)?;
                apps::get(&transaction, &id)
            })
            .await
    }

    async fn list(&self, query: &AppQuery, page_num: u64, page_size: u32) -> Result<Page<App>, StoreError> {
        let query = query.clone();
        self.readers.read(move |connection| apps::list(connection, &query, page_num, page_size)).await
    }

    async fn update(&self, id: &str, change: AppChange) -> Result<Option<StoredApp>, StoreError> {
        check::change(&change)?;
        let id = id.to_owned();
        self.writer.write(move |connection| apps::update(connection, &id, change)).await
    }

    async fn delete(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.writer.write(move |connection| apps::delete(connection, &id)).await
    }

    async fn changes(&self, since: &ChangeMark) -> Result<Changes, StoreError> {
        let since = since.clone();
        self.readers.read(move |connection| changes::since(connection, &since)).await
    }

    async fn touch(&self, uses: &[(String, Timestamp)]) -> Result<(), StoreError> {
        for slice in uses.chunks(log::BATCH) {
            let slice = slice.to_vec();
            self.writer.write(move |connection| apps::touch(connection, &slice)).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl LogStore for SqliteStore {
    async fn append_records(&self, records: &Records, pace: Pace) -> Result<Appended, StoreError> {
        let mut all = Appended::default();
        let mut done = 0;
        let mut gait = Gait::new(pace, &self.usher);
        let gone = Arc::new(AtomicBool::new(false));
        let _caller = Caller(Arc::clone(&gone));
        while done < records.len() {
            let most = if gait.is_calm() { calmly::FEW } else { log::BATCH };
            let batch = records.part(done..done + most);
            let (waiting, gone) = (self.writer.waiting(), Arc::clone(&gone));
            let appending = move |connection: &mut Connection| {
                let begun = Instant::now();
                let is_wanted = || waiting.is_anybody() || gone.load(Relaxed);
                gait.begin(&is_wanted);
                let is_calm = gait.is_calm();
                let give_way = || gait.give_way(&is_wanted);
                // What is stored at a usual pace is soon stored whole.
                let ends = || is_wanted() && (is_calm || begun.elapsed() >= SOON);
                let appended = log::append(connection, &batch, done, give_way, ends)?;
                Ok((gait, appended))
            };
            let (count, part);
            (gait, (count, part)) = self.writer.write(appending).await?;
            done += count;
            all.stored += part.stored;
            all.rejected.extend(part.rejected);
        }
        Ok(all)
    }

    async fn page(
        &self,
        query: &LogQuery,
        page_num: u64,
        page_size: u32,
    ) -> Result<Page<Record>, StoreError> {
        let query = query.clone();
        self.readers.read(move |connection| log::page(connection, &query, page_num, page_size)).await
    }

    async fn export(
        &self,
        query: &LogQuery,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<Record>, Option<String>), StoreError> {
        crate::page::check_limit(limit)?;
        let after = cursor::decode(cursor)?;
        let query = query.clone();
        self.readers.read(move |connection| log::export(connection, &query, after, limit)).await
    }

    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        let (query, span) = (query.clone(), query.span()?);
        self.readers.read(move |connection| usage::query(connection, &query, span)).await
    }

    async fn purge(&self, before: Timestamp, max: u64) -> Result<u64, StoreError> {
        let mut removed = 0;
        while removed < max {
            let slice = purge::SLICE.min(max - removed);
            // Each slice waits in the queue behind the writes that came meanwhile.
            let part = self.writer.write(move |connection| purge::records(connection, before, slice)).await?;
            removed += part;
            if part < slice {
                break;
            }
        }
        Ok(removed)
    }

    async fn roll_up(&self) -> Result<u64, StoreError> {
        let now = Timestamp::now();
        self.writer.write(move |connection| changes::forget_deletions(connection, now)).await?;
        while self.writer.write(move |connection| purge::forget_ids(connection, now)).await? {}
        // The roll-ups themselves are always up to date.
        Ok(0)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn ping(&self) -> Result<(), StoreError> {
        // Both the writer and a reader have to answer; a transaction that takes the lock shows that writing
        // works.
        self.writer.write(|connection| write_transaction(connection)?.commit().map_err(failed)).await?;
        self.readers
            .read(|connection| connection.execute_batch("SELECT one FROM store").map_err(failed))
            .await
    }

    async fn close(&self) {
        let [writer, readers] = [&self.writer, &self.readers].map(Arc::clone);
        let finished = tokio::task::spawn_blocking(move || {
            // The writer goes last: the last connection of all folds the write-ahead log into the file.
            readers.finish();
            writer.finish();
        });
        if finished.await.is_err() {
            tracing::error!("closing the database panicked");
        }
    }

    fn kind(&self) -> StoreKind {
        StoreKind::Sqlite
    }
}

/// A transaction that may write: it takes the lock at once, so it cannot fail half way for want of it.
fn write_transaction(connection: &mut Connection) -> Result<Transaction<'_>, StoreError> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)
}

/// What SQLite said, by what the caller can do about it.
fn failed(error: rusqlite::Error) -> StoreError {
    let sorted = match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => StoreError::too_slow(worker::LONGEST_QUERY),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::unavailable("another process holds the database")
        }
        Some(ErrorCode::DiskFull) => StoreError::unavailable("the disk of the database is full"),
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied,
        ) => StoreError::unavailable(
            "the database's file cannot be used: look at its disk and its permissions",
        ),
        Some(ErrorCode::NotADatabase) => StoreError::invalid(
            "the file is not a SQLite database: restore a copy of it, or move it away to start anew",
        ),
        Some(ErrorCode::DatabaseCorrupt) => StoreError::internal(
            "the database is damaged: restore a copy of the file, or move it away to start anew",
        ),
        _ => StoreError::internal("the database refused a query"),
    };
    sorted.because(error)
}
