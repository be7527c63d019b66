//! Retention in SQLite: old records go in slices, so that a writer never waits for long.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::{failed, write_transaction};
use crate::StoreError;
use crate::times::micros;

/// How many records one transaction removes.
pub(super) const SLICE: u64 = 500;

/// How long a purged id stays known.
const IDS_ARE_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Removes the oldest records before that time, at most `max`; their ids stay known, their usage is counted
/// already.
pub(super) fn records(connection: &mut Connection, before: Timestamp, max: u64) -> Result<u64, StoreError> {
    let transaction = write_transaction(connection)?;
    let oldest = "SELECT id FROM records WHERE time < ?1 ORDER BY time, id LIMIT ?2";
    let (before, max) = (micros(before), i64::try_from(max).unwrap_or(i64::MAX));
    transaction
        .execute(
            &format!("INSERT OR IGNORE INTO purged_records (id, time) SELECT id, ?3 FROM ({oldest})"),
            params![before, max, micros(Timestamp::now())],
        )
        .map_err(failed)?;
    let removed = transaction
        .execute(&format!("DELETE FROM records WHERE id IN ({oldest})"), params![before, max])
        .map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(removed as u64)
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
