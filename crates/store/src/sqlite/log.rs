//! Access-log records in SQLite: appending with counting, pages and export.

use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension as _, Transaction};
use uuid::Uuid;
use vllm_gateway_record::{Record, Records};

use super::records::{insert, millis_of, minted, prepare_insert};
use super::search::Search;
use super::tally::Tally;
use super::{failed, slots, usage, write_transaction};
use crate::cursor::{self, Place};
use crate::times::micros;
use crate::{Appended, LogQuery, Page, Rejected, StoreError, check};

/// How many records one transaction inserts: enough to share the cost of a commit, few enough to hold nobody
/// up. What the journal ships at once fits into one.
pub(super) const BATCH: usize = 1_100;

/// Inserts one batch and counts its usage in the same transaction, or the beginning of one, if it `is_wanted` to end:
/// says how many records it has dealt with, at least one. `start` is the place of its first record in what the caller
/// gave. It gives way before each record.
pub(super) fn append(
    connection: &mut Connection,
    records: &Records,
    start: usize,
    mut give_way: impl FnMut(),
    is_wanted: impl Fn() -> bool,
) -> Result<(usize, Appended), StoreError> {
    let transaction = write_transaction(connection)?;
    let mut appended = Appended::default();
    let mut tally = Tally::default();
    let mut done = 0;
    {
        let mut inserter = Inserter::new(&transaction)?;
        for (index, record) in (start..).zip(records.iter()) {
            if done > 0 && is_wanted() {
                break;
            }
            give_way();
            done += 1;
            if let Err(reason) = check::record(&record) {
                appended.rejected.push(Rejected { index, reason });
                continue;
            }
            match inserter.insert(&record) {
                Ok(true) => tally.add(&record),
                Ok(false) => {}
                Err(error) if is_about_the_record(&error) => {
                    appended.rejected.push(Rejected { index, reason: error.to_string() });
                    continue;
                }
                Err(error) => return Err(failed(error)),
            }
            appended.stored += 1;
        }
    }
    slots::add(&transaction, &tally)?;
    usage::add(&transaction, tally.usage())?;
    transaction.commit().map_err(failed)?;
    Ok((done, appended))
}

/// Inserts records that are not there, and were not until lately.
pub(super) struct Inserter<'t> {
    transaction: &'t Transaction<'t>,
    statement: CachedStatement<'t>,
    /// Where the rest of a record is put together.
    rest: Vec<u8>,
    /// Records from before this time, in milliseconds since 1970, may have been purged.
    purged_before: i64,
    /// Where the next one is inserted: SQLite takes the place behind the last.
    place: i64,
    /// There are ids that do not begin with their record's time.
    odd: bool,
}

impl<'t> Inserter<'t> {
    pub(super) fn new(transaction: &'t Transaction<'t>) -> Result<Self, StoreError> {
        let (purged_before, odd, place) = transaction
            .prepare_cached(
                "SELECT purged_before, EXISTS (SELECT 1 FROM odd_ids), ifnull((SELECT max(place) FROM records), 0) + 1
                 FROM store",
            )
            .and_then(|mut statement| {
                statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            })
            .map_err(failed)?;
        let statement = prepare_insert(transaction)?;
        Ok(Self { transaction, statement, rest: Vec::with_capacity(512), purged_before, odd, place })
    }

    /// Inserts a record that has passed `check::record`, so that its numbers fit; whether it was new.
    pub(super) fn insert(&mut self, record: &Record<&str>) -> Result<bool, rusqlite::Error> {
        let time = millis_of(record);
        let minted = minted(record.id);
        let odd = minted != time;
        // Nearly never: one that was minted by a gateway lately is known by its time and id, if at all.
        if (odd || self.odd || time < self.purged_before) && self.is_known(record.id, minted)? {
            return Ok(false);
        }
        let new = insert(&mut self.statement, record, self.place, odd, &mut self.rest)?;
        self.place += i64::from(new);
        if new && odd {
            self.transaction
                .prepare_cached("INSERT INTO odd_ids (id) VALUES (?1)")?
                .execute([record.id.as_bytes()])?;
            self.odd = true;
        }
        Ok(new)
    }

    /// Whether a record of that id is here under whatever time, or was purged lately.
    fn is_known(&self, id: Uuid, minted: i64) -> Result<bool, rusqlite::Error> {
        let mut statement = self.transaction.prepare_cached(
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM purged_records WHERE id = ?1)
                 OR EXISTS (SELECT 1 FROM odd_ids WHERE id = ?1)
                 OR EXISTS (SELECT 1 FROM records WHERE time = ?2 AND id = ?1)",
        )?;
        let found = statement.query_row((id.as_bytes(), minted), |_| Ok(())).optional()?;
        Ok(found.is_some())
    }
}

fn is_about_the_record(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(code) => {
            matches!(code, ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
        }
        None => matches!(error, rusqlite::Error::ToSqlConversionFailure(_)),
    }
}

pub(super) fn page(
    connection: &mut Connection,
    query: &LogQuery,
    page_num: u64,
    page_size: u32,
) -> Result<Page<Record>, StoreError> {
    let offset = crate::page::items_before(page_num, page_size)?;
    let search = Search::of(query);
    // One transaction: the total and the items are of the same moment.
    let transaction = connection.transaction().map_err(failed)?;
    let total = search.total(&transaction)?;
    // A page behind the end needs no search for it.
    let items =
        if offset < total { search.page(&transaction, i64::from(page_size), offset)? } else { Vec::new() };
    Ok(Page { items, page_num, page_size, total: total.unsigned_abs() })
}

pub(super) fn export(
    connection: &mut Connection,
    query: &LogQuery,
    after: Option<Place>,
    limit: u32,
) -> Result<(Vec<Record>, Option<String>), StoreError> {
    // One transaction: the slots and their records are of the same moment.
    let transaction = connection.transaction().map_err(failed)?;
    // One more than asked for tells whether there is more.
    let mut items = Search::of(query).after(&transaction, after, i64::from(limit) + 1)?;
    let limit = limit as usize;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items
        .last()
        .filter(|_| more)
        .map(|last| cursor::encode(Place { time: micros(last.time), id: last.id }));
    Ok((items, next))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::Timestamp;
    use vllm_gateway_record::Outcome;

    use super::*;
    use crate::sqlite::open;

    #[test]
    fn an_append_that_is_wanted_elsewhere_ends_behind_its_next_record_and_keeps_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = open::writer(&folder.path().join("gateway.db")).unwrap();
        let record = |number: u128| {
            let id = Uuid::from_u128(number + 1);
            Record::bare(id, format!("request-{number}"), Timestamp::UNIX_EPOCH, Outcome::Finished)
        };
        let records: Vec<Record> = (0..10).map(record).collect();
        let records = Records::from(&records[..]);
        let looks = std::cell::Cell::new(0);
        let after_four = || looks.replace(looks.get() + 1) >= 3;
        let (done, appended) = append(&mut connection, &records, 0, || {}, after_four).unwrap();
        assert_eq!((done, appended.stored), (4, 4));
        let (done, appended) = append(&mut connection, &records.part(4..10), 4, || {}, || true).unwrap();
        assert_eq!((done, appended.stored), (1, 1), "one at least, or it would never end");
        let stored: i64 = connection.query_row("SELECT count(*) FROM records", [], |row| row.get(0)).unwrap();
        assert_eq!(stored, 5);
    }
}
