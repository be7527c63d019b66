//! The store in MongoDB (4.4 or newer), which several gateways may share.
//!
//! - **Connection.** Write concern majority, journalled, 5 s; read concern majority, from the primary; a
//!   server is sought for 2 s, each operation ends within 5 s, reads within 4 s on the server; 32 connections
//!   at most. These go before what the address says. Connecting never fails because the server is away:
//!   [`Store::ping`] tells.
//! - **Indexes** are made and checked in the background, until that succeeds. Until then only what relies on
//!   a unique index waits for them: inserting an app and rotating a key.
//! - **Changes of apps**: see `feed`, and `watch` for how others hear of them at once. They run to their end on a task of their own, even if the caller is
//!   gone.
//!
//! # Why usage is exact
//!
//! A standalone server has no transactions, so a record and its hour's roll-up cannot be written together,
//! and an operation that was given up may still be carried out later, at any time. Nothing here relies on
//! when something happens, only on what one document says:
//!
//! 1. **A record is inserted with the field `unfolded`**, its hour: being there and not being part of the
//!    roll-up are one atomic fact. The hours in that (sparse) index are *fresh*.
//! 2. **An hour is one document** (`usage_hours`): its rows, replaced as a whole, and a version. `roll_up`
//!    reads the version, lists the ids that are `unfolded`, counts *all* records of the hour, and writes the
//!    sums only if the version is still the same. Only then it takes the field off those ids. A record that
//!    came meanwhile keeps its field, and its hour stays fresh. Of two that roll up the same hour, the slower
//!    one's write finds another version and does nothing; a write that arrives late finds either another
//!    version, or an hour in which nobody has taken fields off since.
//! 3. **Who asks** first lists the fresh hours, counts these from their records, and takes all others from
//!    their documents. Each hour comes from one place only, so nothing is counted twice; an hour that was not
//!    fresh was complete when its document was read. The current hour is always fresh.
//! 4. **Purging** moves what records have used to the `base` of their hour, which is added to what is
//!    counted: one write (upon the version) adds their sums to the base and names their ids as `purging`;
//!    from then on whoever counts passes these ids over. Then the records are stripped, then the ids are
//!    struck from the hour. Only records that are part of the roll-up are purged. Each step can be repeated,
//!    and whoever finds the ids named goes on with it. Who counts a fresh hour looks at its version before
//!    and after, and starts again if it was purged in between.
//! 5. **A purged record leaves its `_id`** for a day (a TTL index removes it), so a batch that is shipped
//!    again is still recognised. Later than that, it would be counted again.
//!
//! A duplicate is refused by the `_id` index and changes nothing. Reads of one answer go through one causally
//! consistent session, so on a replica set the order above holds across a change of primary.

mod apps;
mod connection;
mod documents;
mod feed;
mod hours;
mod lease;
mod log;
mod purge;
mod roll_up;
mod schema;
mod secret;
mod usage;
mod watch;

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use mongodb::bson::doc;
use tokio::sync::OnceCell;
use uuid::Uuid;
use vllm_gateway_record::{Record, Records};

use self::connection::Connection;
use crate::{
    App, AppChange, AppQuery, AppStore, Appended, ChangeMark, Changes, Courtesy, LogQuery, LogStore, Pace,
    Page, Store, StoreError, StoreKind, StoredApp, UsageQuery, UsageRow, check, cursor,
};

/// The pauses between attempts to make the indexes.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A store in a MongoDB database.
#[derive(Debug)]
pub struct MongoStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connection: Connection,
    // Set once the indexes are known to be there.
    ready: OnceCell<()>,
    // Who this is, among the gateways that share the database.
    me: Uuid,
}

/// A store in that database, which need not be reachable yet. [`StoreError::Invalid`] if the address or the
/// name is malformed. The address is a secret: it appears neither in errors nor in `Debug`.
///
/// Call it on the runtime that the store is used on; it leaves a task there that makes the indexes.
pub async fn connect_mongodb(uri: &str, database: &str) -> Result<MongoStore, StoreError> {
    let connection = Connection::new(uri, database)?;
    let inner = Arc::new(Inner { connection, ready: OnceCell::new(), me: Uuid::new_v4() });
    tokio::spawn(make_ready(Arc::downgrade(&inner)));
    Ok(MongoStore { inner })
}

/// Which database that is, without anything secret: to tell one from another.
#[must_use]
pub fn place(uri: &str, database: &str) -> String {
    format!("mongodb {}/{database}", secret::hosts(uri))
}

/// Tries until it succeeds, or the store is gone.
async fn make_ready(store: Weak<Inner>) {
    let mut pause = FIRST_PAUSE;
    // Said once, and again where it is for another reason.
    let mut told: Option<String> = None;
    while let Some(inner) = store.upgrade() {
        let Err(error) = inner.ready().await else {
            if told.is_some() {
                tracing::info!("the MongoDB indexes are made and checked");
            }
            return;
        };
        if inner.connection.is_closed() {
            return;
        }
        let reason = error.to_string();
        if told.as_ref() != Some(&reason) {
            tracing::warn!(
                error = error.full(),
                "the MongoDB indexes cannot be made or checked yet, trying on"
            );
            told = Some(reason);
        }
        drop(inner);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Inner {
    async fn ready(&self) -> Result<(), StoreError> {
        self.ready.get_or_try_init(|| schema::ensure(&self.connection)).await?;
        Ok(())
    }
}

impl MongoStore {
    /// Runs a change to its end, whether or not the caller waits for it.
    async fn to_the_end<T, F, C>(&self, change: C) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send,
        C: FnOnce(Arc<Inner>) -> F + Send + 'static,
        F: 'static,
    {
        let inner = Arc::clone(&self.inner);
        let ended = tokio::spawn(change(inner)).await;
        ended.unwrap_or_else(|error| Err(StoreError::internal("changing an app panicked").because(error)))
    }
}

#[async_trait]
impl AppStore for MongoStore {
    async fn identity(&self) -> Result<String, StoreError> {
        schema::identity(&self.inner.connection).await
    }

    async fn insert(&self, app: &StoredApp) -> Result<(), StoreError> {
        check::app(app)?;
        let app = app.clone();
        self.to_the_end(|inner| async move {
            inner.ready().await?;
            apps::insert(&inner.connection, &app).await
        })
        .await
    }

    async fn get(&self, id: &str) -> Result<Option<StoredApp>, StoreError> {
        apps::get(&self.inner.connection, id).await
    }

    async fn list(&self, query: &AppQuery, page_num: u64, page_size: u32) -> Result<Page<App>, StoreError> {
        apps::list(&self.inner.connection, query, page_num, page_size).await
    }

    async fn update(&self, id: &str, change: AppChange) -> Result<Option<StoredApp>, StoreError> {
        check::change(&change)?;
        let id = id.to_owned();
        self.to_the_end(|inner| async move {
            if matches!(change, AppChange::Rotate { .. }) {
                inner.ready().await?;
            }
            apps::update(&inner.connection, &id, &change).await
        })
        .await
    }

    async fn delete(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.to_the_end(|inner| async move { apps::delete(&inner.connection, &id).await }).await
    }

    async fn changes(&self, since: &ChangeMark) -> Result<Changes, StoreError> {
        feed::since(&self.inner.connection, since).await
    }

    async fn watch(&self, changed: &(dyn Fn() + Send + Sync)) -> Result<(), StoreError> {
        watch::apps(&self.inner.connection, changed).await
    }

    async fn touch(&self, uses: &[(String, Timestamp)]) -> Result<(), StoreError> {
        apps::touch(&self.inner.connection, uses).await
    }
}

#[async_trait]
impl LogStore for MongoStore {
    async fn append_records(&self, records: &Records, pace: Pace) -> Result<Appended, StoreError> {
        let mut courtesy = Courtesy::new(pace);
        let owned = |record: Record<&str>| {
            courtesy.give_way();
            Record::from(&record)
        };
        let records: Vec<Record> = records.iter().map(owned).collect();
        log::append(&self.inner.connection, &records).await
    }

    async fn page(
        &self,
        query: &LogQuery,
        page_num: u64,
        page_size: u32,
    ) -> Result<Page<Record>, StoreError> {
        log::page(&self.inner.connection, query, page_num, page_size).await
    }

    async fn export(
        &self,
        query: &LogQuery,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<Record>, Option<String>), StoreError> {
        crate::page::check_limit(limit)?;
        log::export(&self.inner.connection, query, cursor::decode(cursor)?, limit).await
    }

    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        usage::query(&self.inner.connection, query, query.span()?).await
    }

    async fn purge(&self, before: Timestamp, max: u64) -> Result<u64, StoreError> {
        purge::purge(&self.inner.connection, self.inner.me, before, max).await
    }

    async fn roll_up(&self) -> Result<u64, StoreError> {
        roll_up::roll_up(&self.inner.connection, self.inner.me).await
    }
}

#[async_trait]
impl Store for MongoStore {
    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.connection.command("asking whether it is there", doc! { "ping": 1 }).await.map(|_| ())
    }

    async fn close(&self) {
        self.inner.connection.close().await;
    }

    fn kind(&self) -> StoreKind {
        StoreKind::Mongodb
    }
}
