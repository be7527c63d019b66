//! Slots: how many records of an app, a model, an outcome and a status lie in which ten seconds.
//!
//! They stand in for an index of each: a batch of records changes a few rows here, where it would be written into each
//! index once by the record. Who looks for the records of a rare app finds the slots that have any; how many there are
//! of one term is known without looking at a record.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Transaction, params};
use vllm_gateway_record::Outcome;

use super::failed;
use super::tally::Tally;
use crate::StoreError;

/// Milliseconds of a slot.
pub(super) const SLOT: i64 = 10_000;

/// What records can have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Term<'a> {
    /// Nothing: every record has it.
    All,
    /// The app.
    App(&'a str),
    /// The model that was asked for.
    Model(&'a str),
    /// How it ended.
    Outcome(Outcome),
    /// The status of the answer.
    Status(u16),
}

impl<'a> Term<'a> {
    /// The terms of a record.
    pub(super) fn all_of(
        app_id: Option<&'a str>,
        model: Option<&'a str>,
        outcome: Outcome,
        status: u16,
    ) -> impl Iterator<Item = Self> {
        let always = [Self::All, Self::Outcome(outcome), Self::Status(status)];
        always.into_iter().chain(app_id.map(Self::App)).chain(model.map(Self::Model))
    }

    /// The number of its column in `record_slots`.
    pub(super) fn field(self) -> i64 {
        match self {
            Self::All => 0,
            Self::App(_) => 1,
            Self::Model(_) => 2,
            Self::Outcome(_) => 3,
            Self::Status(_) => 4,
        }
    }

    /// The condition on a record that has it.
    pub(super) fn condition(self) -> &'static str {
        match self {
            Self::All => "TRUE",
            Self::App(_) => "r.app_id = ?",
            Self::Model(_) => "r.model = ?",
            Self::Outcome(_) => "r.outcome = ?",
            Self::Status(_) => "r.status = ?",
        }
    }
}

impl ToSql for Term<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::All => ToSqlOutput::from(0_i64),
            Self::App(text) | Self::Model(text) => ToSqlOutput::Borrowed(ValueRef::from(*text)),
            Self::Outcome(outcome) => ToSqlOutput::from(outcome.as_str()),
            Self::Status(status) => ToSqlOutput::from(*status),
        })
    }
}

/// So many records, all of them between two times, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) records: i64,
}

impl Default for Span {
    fn default() -> Self {
        Self { first: i64::MAX, last: i64::MIN, records: 0 }
    }
}

impl Span {
    pub(super) fn add(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.records += other.records;
    }
}

/// Counts records that were inserted.
pub(super) fn add(transaction: &Transaction<'_>, tally: &Tally<'_>) -> Result<(), StoreError> {
    let mut statement = transaction
        .prepare_cached(
            "INSERT INTO record_slots (field, value, slot, first, last, records) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (field, value, slot) DO UPDATE SET
                 first = min(first, excluded.first),
                 last = max(last, excluded.last),
                 records = records + excluded.records",
        )
        .map_err(failed)?;
    for ((term, slot), span) in tally.slots() {
        statement
            .execute(params![term.field(), term, slot, span.first, span.last, span.records])
            .map_err(failed)?;
    }
    Ok(())
}

/// Counts records that were removed.
pub(super) fn remove(transaction: &Transaction<'_>, tally: &Tally<'_>) -> Result<(), StoreError> {
    let place = "field = ?1 AND value = ?2 AND slot = ?3";
    let mut fewer = transaction
        .prepare_cached(&format!(
            "UPDATE record_slots SET records = records - ?4 WHERE {place} AND records > ?4"
        ))
        .map_err(failed)?;
    let mut none =
        transaction.prepare_cached(&format!("DELETE FROM record_slots WHERE {place}")).map_err(failed)?;
    for ((term, slot), span) in tally.slots() {
        if fewer.execute(params![term.field(), term, slot, span.records]).map_err(failed)? == 0 {
            none.execute(params![term.field(), term, slot]).map_err(failed)?;
        }
    }
    Ok(())
}

/// How many records of a term lie in these slots, both included.
pub(super) fn count(
    connection: &Connection,
    term: Term<'_>,
    first: i64,
    last: i64,
) -> Result<i64, StoreError> {
    connection
        .prepare_cached(
            "SELECT ifnull(sum(records), 0) FROM record_slots
             WHERE field = ?1 AND value = ?2 AND slot BETWEEN ?3 AND ?4",
        )
        .and_then(|mut statement| {
            statement.query_row(params![term.field(), term, first, last], |row| row.get(0))
        })
        .map_err(failed)
}

/// Where the record is that so many newer ones of this term come before, in these slots: its slot, and how many of
/// the newer ones are in that one, too. None if there are not so many.
pub(super) fn find(
    connection: &Connection,
    term: Term<'_>,
    (first, last): (i64, i64),
    mut newer: i64,
) -> Result<Option<(i64, i64)>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT slot, records FROM record_slots
             WHERE field = ?1 AND value = ?2 AND slot BETWEEN ?3 AND ?4 ORDER BY slot DESC",
        )
        .map_err(failed)?;
    let mut rows = statement.query(params![term.field(), term, first, last]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let records: i64 = row.get(1).map_err(failed)?;
        if newer < records {
            return Ok(Some((row.get(0).map_err(failed)?, newer)));
        }
        newer -= records;
    }
    Ok(None)
}
