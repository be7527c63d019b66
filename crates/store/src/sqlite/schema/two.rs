//! Schema 2: the records of a database of schema 1 are copied into their new form.

use rusqlite::{Row, Transaction};
use uuid::Uuid;
use vllm_gateway_record::Record;

use super::super::log::Inserter;
use super::super::records::{outcome_of, source_of};
use super::super::tally::Tally;
use super::super::{failed, slots};
use crate::StoreError;
use crate::times::from_micros;

/// So many at once, so that none of it needs much memory.
const SLICE: i64 = 1_000;

/// Copies all records, which were counted already, and drops the old table.
pub(super) fn copy(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let mut last = i64::MIN;
    loop {
        let slice = slice(transaction, last)?;
        let Some((row, _)) = slice.last() else { break };
        last = *row;
        let mut tally = Tally::default();
        let mut inserter = Inserter::new(transaction)?;
        for (_, record) in &slice {
            let record = record.borrowed();
            if inserter.insert(&record).map_err(failed)? {
                tally.add(&record);
            }
        }
        slots::add(transaction, &tally)?;
    }
    transaction.execute_batch("DROP TABLE records_of_schema_1").map_err(failed)
}

fn slice(transaction: &Transaction<'_>, after: i64) -> Result<Vec<(i64, Record)>, StoreError> {
    let mut statement = transaction
        .prepare_cached(
            "SELECT id, request_id, time, app_id, org_name, key_prefix, method, path, pipeline, model, upstream, \
                 endpoint, upstream_model, stream, status, outcome, error_code, prompt_tokens, completion_tokens, \
                 total_tokens, cached_tokens, reasoning_tokens, token_source, duration_ms, ttft_ms, attempts, \
                 request_bytes, response_bytes, client_ip, user_agent, rowid \
             FROM records_of_schema_1 WHERE rowid > ?1 ORDER BY rowid LIMIT ?2",
        )
        .map_err(failed)?;
    let rows =
        statement.query_map([after, SLICE], |row| Ok((row.get(30)?, record_of(row)))).map_err(failed)?;
    rows.map(|row| {
        let (place, record) = row.map_err(failed)?;
        Ok((place, record?))
    })
    .collect()
}

fn record_of(row: &Row<'_>) -> Result<Record, StoreError> {
    let outcome: String = row.get(15).map_err(failed)?;
    let source: String = row.get(22).map_err(failed)?;
    let number = |column: usize| row.get::<_, i64>(column).map_err(failed).and_then(unsigned);
    let maybe = |column: usize| row.get::<_, Option<i64>>(column).map_err(failed)?.map(unsigned).transpose();
    Ok(Record {
        id: Uuid::from_bytes(row.get(0).map_err(failed)?),
        request_id: row.get(1).map_err(failed)?,
        time: from_micros(row.get(2).map_err(failed)?)?,
        app_id: row.get(3).map_err(failed)?,
        org_name: row.get(4).map_err(failed)?,
        key_prefix: row.get(5).map_err(failed)?,
        method: row.get(6).map_err(failed)?,
        path: row.get(7).map_err(failed)?,
        pipeline: row.get(8).map_err(failed)?,
        model: row.get(9).map_err(failed)?,
        upstream: row.get(10).map_err(failed)?,
        endpoint: row.get(11).map_err(failed)?,
        upstream_model: row.get(12).map_err(failed)?,
        stream: row.get(13).map_err(failed)?,
        status: row.get(14).map_err(failed)?,
        outcome: outcome_of(&outcome)?,
        error_code: row.get(16).map_err(failed)?,
        prompt_tokens: maybe(17)?,
        completion_tokens: maybe(18)?,
        total_tokens: maybe(19)?,
        cached_tokens: maybe(20)?,
        reasoning_tokens: maybe(21)?,
        token_source: source_of(&source)?,
        duration_ms: number(23)?,
        ttft_ms: maybe(24)?,
        attempts: row.get(25).map_err(failed)?,
        request_bytes: number(26)?,
        response_bytes: number(27)?,
        client_ip: row.get(28).map_err(failed)?,
        user_agent: row.get(29).map_err(failed)?,
    })
}

fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number)
        .map_err(|_| StoreError::internal(format!("the store holds a negative count ({number})")))
}
