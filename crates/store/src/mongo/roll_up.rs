//! Bringing hours up to date: why usage is exact without transactions is written in [`super`].

use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use mongodb::ClientSession;
use mongodb::bson::{Document, doc};
use uuid::Uuid;

use super::connection::{Connection, LONGEST_READ};
use super::documents::{integer, uuid, uuid_value};
use super::hours::{self, Sums, count_records, rows_of};
use super::schema::RECORDS;
use super::{feed, lease};
use crate::StoreError;
use crate::times::{MILLIS_PER_HOUR, millis};

/// How long one call works, so that its caller can go on with other things.
const BUDGET: Duration = Duration::from_secs(20);
/// An hour is rolled up this long after its end: most of its records are there by then.
const SETTLING: i64 = 60_000;
/// Records that one pass over an hour takes off the list; the rest waits for the next pass.
const PASS: i64 = 200_000;
const BATCH: usize = 1_000;
const ATTEMPTS: usize = 10;

pub(super) async fn roll_up(connection: &Connection, me: Uuid) -> Result<u64, StoreError> {
    feed::announce_leftovers(connection).await?;
    if !lease::take(connection, "roll_up", me).await? {
        return Ok(0);
    }
    let rolled = settled(connection).await;
    lease::give_back(connection, "roll_up", me).await;
    rolled
}

async fn settled(connection: &Connection) -> Result<u64, StoreError> {
    let started = Instant::now();
    let current = (millis(Timestamp::now()) - SETTLING).div_euclid(MILLIS_PER_HOUR);
    let mut session = connection.session().await?;
    let mut rolled = 0;
    for hour in unfolded_hours(connection, &mut session, doc! { "$lt": current }).await? {
        while fold(connection, &mut session, hour, Fold::IfNeeded).await? {
            if started.elapsed() > BUDGET {
                return Ok(rolled);
            }
        }
        rolled += 1;
    }
    Ok(rolled)
}

/// The hours in that range with records that are not part of their roll-up yet.
pub(super) async fn unfolded_hours(
    connection: &Connection,
    session: &mut ClientSession,
    range: Document,
) -> Result<Vec<i64>, StoreError> {
    let records = connection.collection(RECORDS).await?;
    let distinct =
        records.distinct("unfolded", doc! { "unfolded": range }).max_time(LONGEST_READ).session(session);
    let mut hours = connection
        .run("looking for usage to roll up", distinct)
        .await?
        .into_iter()
        .map(|hour| integer(&doc! { "unfolded": hour }, "unfolded"))
        .collect::<Result<Vec<_>, _>>()?;
    hours.sort_unstable();
    Ok(hours)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    /// When there are records that are not part of the roll-up.
    IfNeeded,
    /// In any case.
    Anyway,
}

/// Counts an hour anew and writes its roll-up; whether there is more to take off the list.
pub(super) async fn fold(
    connection: &Connection,
    session: &mut ClientSession,
    hour: i64,
    when: Fold,
) -> Result<bool, StoreError> {
    for _ in 0..ATTEMPTS {
        // The order matters: the version, then the list, then the records, which include those on the list.
        let found = hours::load(connection, session, &[hour]).await?.remove(&hour);
        let list = unfolded(connection, session, hour).await?;
        if list.is_empty() && when == Fold::IfNeeded {
            return Ok(false);
        }
        let upon = found.as_ref().map(|found| found.version);
        let before = found.unwrap_or_default();
        let mut sums: Sums = before.base;
        for tally in count_records(connection, session, &[hour], &before.purging).await? {
            sums.entry(tally.group).or_default().add(tally.counts);
        }
        if hours::write(connection, session, hour, upon, doc! { "rows": rows_of(&sums) }).await? {
            take_off_the_list(connection, session, hour, &list).await?;
            return Ok(i64::try_from(list.len()).is_ok_and(|length| length == PASS));
        }
    }
    Err(StoreError::unavailable("an hour of usage is being written by too many at once"))
}

async fn unfolded(
    connection: &Connection,
    session: &mut ClientSession,
    hour: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let records = connection.collection(RECORDS).await?;
    let documents: Vec<Document> = connection
        .run("listing records to roll up", async {
            let find = records.find(doc! { "unfolded": hour }).projection(doc! { "_id": 1 }).limit(PASS);
            find.batch_size(20_000)
                .max_time(LONGEST_READ)
                .session(&mut *session)
                .await?
                .stream(session)
                .try_collect()
                .await
        })
        .await?;
    documents.iter().map(|document| uuid(document.get("_id"), "_id")).collect()
}

async fn take_off_the_list(
    connection: &Connection,
    session: &mut ClientSession,
    hour: i64,
    list: &[Uuid],
) -> Result<(), StoreError> {
    let records = connection.collection(RECORDS).await?;
    for batch in list.chunks(BATCH) {
        let ids: Vec<_> = batch.iter().copied().map(uuid_value).collect();
        let update = records.update_many(
            doc! { "_id": { "$in": ids }, "unfolded": hour },
            doc! { "$unset": { "unfolded": "" } },
        );
        connection.run("marking records as rolled up", update.session(&mut *session)).await?;
    }
    Ok(())
}
