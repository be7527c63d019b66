//! A record as a row: the columns by which it is found, and one for all the rest.

use rusqlite::{Connection, Row, Statement, params};
use uuid::Uuid;
use vllm_gateway_record::{Outcome, Record, TokenSource};

use super::{failed, rest};
use crate::StoreError;
use crate::times::{from_micros, micros};

/// The columns, in the order in which [`insert`] and [`record_of`] number them.
pub(super) const COLUMNS: &str =
    "r.time, r.micros, r.id, r.app_id, r.model, r.status, r.outcome, r.request_id, r.rest";

const MICROS: i64 = 1_000;

/// The time of a record in whole milliseconds, by which records are ordered.
pub(super) fn millis_of<S>(record: &Record<S>) -> i64 {
    micros(record.time).div_euclid(MICROS)
}

/// A statement that inserts a record unless one of its time and id is there.
pub(super) fn prepare_insert(connection: &Connection) -> Result<rusqlite::CachedStatement<'_>, StoreError> {
    // Of values, not of a query: a query could fail half way, and SQLite would keep a journal for each record.
    connection
        .prepare_cached(
            "INSERT INTO records (time, micros, id, app_id, model, status, outcome, request_id, request_key, rest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (time, id) DO NOTHING",
        )
        .map_err(failed)
}

/// Inserts a record; whether it was new. Its place will be this one; its id begins with its time, unless it is `odd`;
/// `rest` is where its rest is put together.
pub(super) fn insert(
    statement: &mut Statement<'_>,
    record: &Record<&str>,
    place: i64,
    odd: bool,
    rest: &mut Vec<u8>,
) -> Result<bool, rusqlite::Error> {
    rest.clear();
    rest::write(record, rest);
    let micros = micros(record.time);
    // A request id that the gateway minted is the record's, and found by that.
    let own = !odd && record.request_id == digits_of(record.id, &mut Default::default());
    let inserted = statement.execute(params![
        micros.div_euclid(MICROS),
        micros.rem_euclid(MICROS),
        record.id.as_bytes(),
        record.app_id,
        record.model,
        record.status,
        record.outcome.as_str(),
        (!own).then_some(record.request_id),
        (!own).then(|| request_key(place >> GROUP, record.request_id)),
        rest.as_slice(),
    ])?;
    Ok(inserted == 1)
}

/// So many bits of a place are its number within a group.
pub(super) const GROUP: u32 = 12;

/// By what a request id is found in a group. It is in files: it never changes.
pub(super) fn request_key(group: i64, request_id: &str) -> i64 {
    group << 32 | request_hash(request_id)
}

/// 32 bits, FNV-1a folded. Two request ids may have the same: they are compared, too.
pub(super) fn request_hash(request_id: &str) -> i64 {
    let hash = request_id.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    (hash >> 32 ^ hash & 0xFFFF_FFFF).cast_signed()
}

/// An id as 32 digits, as the gateway mints request ids.
fn digits_of(id: Uuid, buffer: &mut [u8; 32]) -> &str {
    id.simple().encode_lower(buffer)
}

/// The id of which these are the 32 digits.
pub(super) fn id_of(digits: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(digits).ok()?;
    (digits_of(id, &mut Default::default()) == digits).then_some(id)
}

/// When an id of version 7 was minted, in milliseconds since 1970. Two records of one id have this in common.
pub(super) fn minted(id: Uuid) -> i64 {
    (id.as_u128() >> 80) as i64
}

pub(super) fn record_of(row: &Row<'_>) -> Result<Record, StoreError> {
    let (millis, micros): (i64, i64) = (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
    let outcome = row.get_ref(6).and_then(|value| Ok(value.as_str()?)).map_err(failed)?;
    let id = Uuid::from_bytes(row.get(2).map_err(failed)?);
    let request_id: Option<String> = row.get(7).map_err(failed)?;
    let request_id = request_id.unwrap_or_else(|| digits_of(id, &mut Default::default()).to_owned());
    let time = from_micros(millis.saturating_mul(MICROS).saturating_add(micros))?;
    let columns = Record {
        app_id: row.get(3).map_err(failed)?,
        model: row.get(4).map_err(failed)?,
        status: row.get(5).map_err(failed)?,
        ..Record::bare(id, request_id, time, outcome_of(outcome)?)
    };
    let rest = row.get_ref(8).and_then(|value| Ok(value.as_blob()?)).map_err(failed)?;
    rest::read(rest, columns).ok_or_else(|| {
        StoreError::internal(
            "the store holds a record that this version cannot read, written by a newer vllm-gateway?",
        )
    })
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
