//! Access-log records in SQLite: appending with counting, pages and export.

use std::collections::HashMap;

use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, params_from_iter};
use vllm_gateway_record::Record;

use super::records::{COLUMNS, insert, prepare_insert, record_of};
use super::{failed, usage, write_transaction};
use crate::cursor::{self, Place};
use crate::times::{micros, micros_up};
use crate::usage::{Counts, Group, hour_of};
use crate::{Appended, LogQuery, Page, Rejected, StoreError, check};

/// How many records one transaction inserts: enough to share the cost of a commit, few enough to hold nobody
/// up.
pub(super) const BATCH: usize = 500;

/// Inserts one batch and counts its usage in the same transaction. `start` is the place of its first record
/// in the slice that the caller gave.
pub(super) fn append(
    connection: &mut Connection,
    records: &[Record],
    start: usize,
) -> Result<Appended, StoreError> {
    let transaction = write_transaction(connection)?;
    let mut appended = Appended::default();
    let mut sums: HashMap<(i64, Group), Counts> = HashMap::new();
    {
        let mut statement = prepare_insert(&transaction)?;
        for (index, record) in (start..).zip(records) {
            if let Err(reason) = check::record(record) {
                appended.rejected.push(Rejected { index, reason });
                continue;
            }
            match insert(&mut statement, record) {
                Ok(true) => {
                    sums.entry((hour_of(record), Group::of(record))).or_default().add(Counts::of(record));
                }
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
    usage::add(&transaction, sums)?;
    transaction.commit().map_err(failed)?;
    Ok(appended)
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
    let mut conditions = Conditions::of(query);
    // One transaction: the total and the items are of the same moment.
    let transaction = connection.transaction().map_err(failed)?;
    let total: i64 = transaction
        .prepare_cached(&format!("SELECT count(*) FROM records{}", conditions.text))
        .and_then(|mut statement| statement.query_row(params_from_iter(&conditions.values), |row| row.get(0)))
        .map_err(failed)?;
    // A page behind the end needs no search for it.
    let items = if offset < total {
        select(&transaction, &mut conditions, i64::from(page_size), offset)?
    } else {
        Vec::new()
    };
    Ok(Page { items, page_num, page_size, total: total.unsigned_abs() })
}

pub(super) fn export(
    connection: &Connection,
    query: &LogQuery,
    after: Option<Place>,
    limit: u32,
) -> Result<(Vec<Record>, Option<String>), StoreError> {
    let mut conditions = Conditions::of(query);
    if let Some(place) = after {
        conditions.add("(time, id) < (?, ?)", [place.time.into(), place.id.into_bytes().to_vec().into()]);
    }
    let limit = limit as usize;
    // One more than asked for tells whether there is more.
    let mut items = select(connection, &mut conditions, i64::try_from(limit + 1).unwrap_or(i64::MAX), 0)?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items
        .last()
        .filter(|_| more)
        .map(|last| cursor::encode(Place { time: micros(last.time), id: last.id }));
    Ok((items, next))
}

fn select(
    connection: &Connection,
    conditions: &mut Conditions,
    limit: i64,
    offset: i64,
) -> Result<Vec<Record>, StoreError> {
    conditions.values.extend([Value::from(limit), Value::from(offset)]);
    let text = &conditions.text;
    let mut statement = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM records{text} ORDER BY time DESC, id DESC LIMIT ? OFFSET ?"
        ))
        .map_err(failed)?;
    let rows = statement
        .query_map(params_from_iter(&conditions.values), |row| Ok(record_of(row)))
        .map_err(failed)?;
    rows.map(|row| row.map_err(failed)?).collect()
}

/// The `WHERE` of a query: fixed text, the values always as parameters.
#[derive(Default)]
struct Conditions {
    text: String,
    values: Vec<Value>,
}

impl Conditions {
    fn of(query: &LogQuery) -> Self {
        let mut all = Self::default();
        let LogQuery { app_id, model, outcome, status, from, to, request_id } = query;
        for (condition, text) in
            [("app_id = ?", app_id), ("model = ?", model), ("request_id = ?", request_id)]
        {
            if let Some(text) = text {
                all.add(condition, [text.clone().into()]);
            }
        }
        if let Some(outcome) = outcome {
            all.add("outcome = ?", [outcome.as_str().to_owned().into()]);
        }
        if let Some(status) = status {
            all.add("status = ?", [i64::from(*status).into()]);
        }
        if let Some(from) = from {
            all.add("time >= ?", [micros(*from).into()]);
        }
        if let Some(to) = to {
            all.add("time < ?", [micros_up(*to).into()]);
        }
        all
    }

    fn add<const N: usize>(&mut self, condition: &str, values: [Value; N]) {
        self.text.push_str(if self.text.is_empty() { " WHERE " } else { " AND " });
        self.text.push_str(condition);
        self.values.extend(values);
    }
}
