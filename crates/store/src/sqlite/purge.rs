//! Retention in SQLite: old records go in slices, so that a writer never waits for long.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, ToSql, Transaction, params};
use vllm_gateway_record::Record;

use super::records::{COLUMNS, record_of};
use super::tally::Tally;
use super::{failed, slots, write_transaction};
use crate::StoreError;
use crate::times::{micros, millis_up};

/// How many records one transaction removes.
pub(super) const SLICE: u64 = 500;

/// How long a purged id stays known.
const IDS_ARE_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Removes the oldest records before that time, at most `max`; their ids stay known, their usage is counted
/// already.
pub(super) fn records(connection: &mut Connection, before: Timestamp, max: u64) -> Result<u64, StoreError> {
    let transaction = write_transaction(connection)?;
    let oldest = oldest(&transaction, before, max)?;
    if oldest.is_empty() {
        return Ok(0);
    }
    transaction
        .execute("UPDATE store SET purged_before = max(purged_before, ?1)", [millis_up(before)])
        .map_err(failed)?;
    let now = micros(Timestamp::now());
    let mut tally = Tally::default();
    for (place, record) in &oldest {
        let id = record.id.as_bytes();
        let removed = |text: &str, parameters: &[&dyn ToSql]| {
            transaction
                .prepare_cached(text)
                .and_then(|mut statement| statement.execute(parameters))
                .map_err(failed)
        };
        removed("INSERT OR IGNORE INTO purged_records (id, time) VALUES (?1, ?2)", &[id, &now])?;
        removed("DELETE FROM odd_ids WHERE id = ?1", &[id])?;
        removed("DELETE FROM records WHERE place = ?1", &[place])?;
        tally.add(&record.borrowed());
    }
    slots::remove(&transaction, &tally)?;
    transaction.commit().map_err(failed)?;
    Ok(oldest.len() as u64)
}

fn oldest(
    transaction: &Transaction<'_>,
    before: Timestamp,
    max: u64,
) -> Result<Vec<(i64, Record)>, StoreError> {
    let before = micros(before);
    let mut statement = transaction
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, r.place FROM records r
             WHERE r.time <= ?1 AND r.time * 1000 + r.micros < ?2 ORDER BY r.time, r.id LIMIT ?3"
        ))
        .map_err(failed)?;
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let rows = statement
        .query_map([before.div_euclid(1_000), before, max], |row| Ok((row.get(9)?, record_of(row))))
        .map_err(failed)?;
    rows.map(|row| {
        let (place, record) = row.map_err(failed)?;
        Ok((place, record?))
    })
    .collect()
}

/// Forgets ids that were purged long ago, one slice of them; whether there may be more.
pub(super) fn forget_ids(connection: &mut Connection, now: Timestamp) -> Result<bool, StoreError> {
    let before = micros(now) - i64::try_from(IDS_ARE_KEPT.as_micros()).unwrap_or(i64::MAX);
    let forgotten = connection
        .execute(
            "DELETE FROM purged_records WHERE id IN (SELECT id FROM purged_records WHERE time < ?1 LIMIT ?2)",
            params![before, SLICE.cast_signed()],
        )
        .map_err(failed)?;
    Ok(forgotten as u64 == SLICE)
}
