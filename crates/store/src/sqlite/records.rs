//! A record as a row: the columns in their order, in and out.

use rusqlite::{Connection, Row, Statement, params};
use uuid::Uuid;
use vllm_gateway_record::{Outcome, Record, TokenSource};

use super::failed;
use crate::StoreError;
use crate::times::{from_micros, micros};

/// The columns, in the order in which [`insert`] and [`record_of`] number them.
pub(super) const COLUMNS: &str = "id, request_id, time, app_id, org_name, key_prefix, method, path, pipeline, model, \
     upstream, endpoint, upstream_model, stream, status, outcome, error_code, prompt_tokens, completion_tokens, \
     total_tokens, cached_tokens, reasoning_tokens, token_source, duration_ms, ttft_ms, attempts, request_bytes, \
     response_bytes, client_ip, user_agent";

/// A statement that inserts a record unless it is there, or was until lately.
pub(super) fn prepare_insert(connection: &Connection) -> Result<rusqlite::CachedStatement<'_>, StoreError> {
    connection
        .prepare_cached(&format!(
            "INSERT INTO records ({COLUMNS})
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
                 ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30
             WHERE NOT EXISTS (SELECT 1 FROM purged_records WHERE id = ?1)
             ON CONFLICT (id) DO NOTHING"
        ))
        .map_err(failed)
}

/// Inserts a record; whether it was new. The record has passed `check::record`, so its numbers fit.
pub(super) fn insert(statement: &mut Statement<'_>, record: &Record) -> Result<bool, rusqlite::Error> {
    let inserted = statement.execute(params![
        record.id.as_bytes(),
        record.request_id,
        micros(record.time),
        record.app_id,
        record.org_name,
        record.key_prefix,
        record.method,
        record.path,
        record.pipeline,
        record.model,
        record.upstream,
        record.endpoint,
        record.upstream_model,
        record.stream,
        record.status,
        record.outcome.as_str(),
        record.error_code,
        record.prompt_tokens.map(signed),
        record.completion_tokens.map(signed),
        record.total_tokens.map(signed),
        record.cached_tokens.map(signed),
        record.reasoning_tokens.map(signed),
        record.token_source.as_str(),
        signed(record.duration_ms),
        record.ttft_ms.map(signed),
        record.attempts,
        signed(record.request_bytes),
        signed(record.response_bytes),
        record.client_ip,
        record.user_agent,
    ])?;
    Ok(inserted == 1)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn record_of(row: &Row<'_>) -> Result<Record, StoreError> {
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

/// The outcome of that name, for both stores.
pub(crate) fn outcome_of(name: &str) -> Result<Outcome, StoreError> {
    Outcome::from_name(name).ok_or_else(|| unknown("outcome", name))
}

/// The token source of that name, for both stores.
pub(crate) fn source_of(name: &str) -> Result<TokenSource, StoreError> {
    [TokenSource::Usage, TokenSource::Partial, TokenSource::Estimated, TokenSource::None]
        .into_iter()
        .find(|source| source.as_str() == name)
        .ok_or_else(|| unknown("token source", name))
}

fn unknown(what: &str, name: &str) -> StoreError {
    StoreError::internal(format!(
        "the store holds an unknown {what} ({name}), written by a newer vllm-gateway?"
    ))
}
