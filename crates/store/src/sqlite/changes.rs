//! What has changed among the apps of a SQLite database, by its revision.
//!
//! Every change takes the next revision inside of its own transaction, and SQLite commits one writing
//! transaction after the other. So whoever reads revision *n* sees every change up to *n*, and only those:
//! the mark is exact, across processes too.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{apps, failed, write_transaction};
use crate::app::Mark;
use crate::times::micros;
use crate::{ChangeMark, Changes, StoreError};

/// How long a deletion is told; a mark from before then gets everything anew.
const DELETIONS_ARE_KEPT: SignedDuration = SignedDuration::from_hours(24);

pub(super) fn since(connection: &mut Connection, mark: &ChangeMark) -> Result<Changes, StoreError> {
    // One transaction: revision, apps and deletions are of the same moment.
    let transaction = connection.transaction().map_err(failed)?;
    let (epoch, revision, forgotten) = transaction
        .query_row("SELECT epoch, revision, forgotten FROM store", [], |row| {
            Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })
        .map_err(failed)?;
    let epoch = Uuid::from_bytes(epoch);
    let seen = match &mark.0 {
        // A revision from the future is one of a file that was replaced by an older copy of itself.
        Mark::Sqlite { epoch: known, revision: seen }
            if *known == epoch && (forgotten..=revision).contains(seen) =>
        {
            Some(*seen)
        }
        _ => None,
    };
    let mark = ChangeMark(Mark::Sqlite { epoch, revision });
    if seen == Some(revision) {
        return Ok(Changes { upserts: Vec::new(), deleted: Vec::new(), complete: false, mark });
    }
    let upserts = apps::all_where(&transaction, "revision > ?1", seen.unwrap_or(-1))?;
    let deleted = seen.map_or(Ok(Vec::new()), |seen| {
        transaction
            .prepare_cached("SELECT id FROM deleted_apps WHERE revision > ?1")
            .and_then(|mut statement| statement.query_map([seen], |row| row.get(0))?.collect())
            .map_err(failed)
    })?;
    Ok(Changes { upserts, deleted, complete: seen.is_none(), mark })
}

/// What the file was named when its schema was made.
pub(super) fn epoch(connection: &Connection) -> Result<String, StoreError> {
    let epoch: [u8; 16] =
        connection.query_row("SELECT epoch FROM store", [], |row| row.get(0)).map_err(failed)?;
    Ok(Uuid::from_bytes(epoch).to_string())
}

/// Forgets deletions that have been told for long enough.
pub(super) fn forget_deletions(connection: &mut Connection, now: Timestamp) -> Result<(), StoreError> {
    let before = micros(now) - i64::try_from(DELETIONS_ARE_KEPT.as_micros()).unwrap_or(i64::MAX);
    let transaction = write_transaction(connection)?;
    transaction
        .execute(
            "UPDATE store SET forgotten =
                 max(forgotten, ifnull((SELECT max(revision) FROM deleted_apps WHERE time < ?1), 0))",
            [before],
        )
        .map_err(failed)?;
    // By revision as well, for the clock may have been set back between two deletions.
    transaction
        .execute("DELETE FROM deleted_apps WHERE revision <= (SELECT forgotten FROM store)", params![])
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}
