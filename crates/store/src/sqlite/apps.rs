//! Apps in SQLite: rows and what is done with them, each function inside of one transaction.

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, params};

use super::{failed, write_transaction};
use crate::times::{from_micros, micros};
use crate::{App, AppChange, AppKey, AppQuery, AppStatus, KeyDigest, Page, StoreError, StoredApp};

const COLUMNS: &str = "id, org_name, key_prefix, status, create_time, expire_time, last_used_time, remark, allowed_models, revision";

pub(super) fn insert(connection: &mut Connection, stored: &StoredApp) -> Result<(), StoreError> {
    let transaction = write_transaction(connection)?;
    let revision = next_revision(&transaction)?;
    let app = &stored.app;
    transaction
        .prepare_cached(
            "INSERT INTO apps (id, org_name, org_name_folded, key_prefix, status, create_time, expire_time,
                 last_used_time, remark, allowed_models, revision)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                app.id,
                app.org_name,
                app.org_name.to_lowercase(),
                app.key_prefix,
                app.status.as_str(),
                micros(app.create_time),
                app.expire_time.map(micros),
                app.last_used_time.map(micros),
                app.remark,
                models_text(app.allowed_models.as_deref()),
                revision,
            ])
        })
        .map_err(|error| taken(error, &format!("an app with the id {} exists already", app.id)))?;
    insert_keys(&transaction, &app.id, &stored.keys)?;
    transaction.execute("DELETE FROM deleted_apps WHERE id = ?1", [&app.id]).map_err(failed)?;
    transaction.commit().map_err(failed)
}

pub(super) fn get(connection: &Connection, id: &str) -> Result<Option<StoredApp>, StoreError> {
    let app = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM apps WHERE id = ?1"))
        .and_then(|mut statement| statement.query_row([id], |row| Ok(row_of(row))).optional())
        .map_err(failed)?
        .transpose()?;
    app.map(|(app, version)| with_keys(connection, app, version)).transpose()
}

pub(super) fn list(
    connection: &mut Connection,
    query: &AppQuery,
    page_num: u64,
    page_size: u32,
) -> Result<Page<App>, StoreError> {
    let offset = crate::page::items_before(page_num, page_size)?;
    // `instr` takes the part literally: it knows no wildcards.
    let conditions = "(?1 IS NULL OR instr(org_name_folded, ?1) > 0) AND (?2 IS NULL OR status = ?2)";
    let part = query.org_name.as_ref().map(|part| part.to_lowercase());
    let status = query.status.map(AppStatus::as_str);
    // One transaction: the total and the items are of the same moment.
    let transaction = connection.transaction().map_err(failed)?;
    let total: i64 = transaction
        .prepare_cached(&format!("SELECT count(*) FROM apps WHERE {conditions}"))
        .and_then(|mut statement| statement.query_row(params![part, status], |row| row.get(0)))
        .map_err(failed)?;
    let mut statement = transaction
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM apps WHERE {conditions} ORDER BY create_time DESC, id DESC LIMIT ?3 OFFSET ?4"
        ))
        .map_err(failed)?;
    let rows = statement
        .query_map(params![part, status, page_size, offset], |row| Ok(app_of(row)))
        .map_err(failed)?;
    let items = rows.map(|row| row.map_err(failed)?).collect::<Result<_, _>>()?;
    Ok(Page { items, page_num, page_size, total: total.unsigned_abs() })
}

pub(super) fn update(
    connection: &mut Connection,
    id: &str,
    change: AppChange,
) -> Result<Option<StoredApp>, StoreError> {
    let transaction = write_transaction(connection)?;
    let Some(mut stored) = get(&transaction, id)? else { return Ok(None) };
    let rotated = matches!(change, AppChange::Rotate { .. });
    stored.apply(change, Timestamp::now())?;
    let revision = next_revision(&transaction)?;
    let app = &stored.app;
    transaction
        .execute(
            "UPDATE apps SET org_name = ?2, org_name_folded = ?3, key_prefix = ?4, status = ?5, expire_time = ?6,
                 remark = ?7, allowed_models = ?8, revision = ?9
             WHERE id = ?1",
            params![
                id,
                app.org_name,
                app.org_name.to_lowercase(),
                app.key_prefix,
                app.status.as_str(),
                app.expire_time.map(micros),
                app.remark,
                models_text(app.allowed_models.as_deref()),
                revision,
            ],
        )
        .map_err(failed)?;
    if rotated {
        transaction.execute("DELETE FROM app_keys WHERE app_id = ?1", [id]).map_err(failed)?;
        insert_keys(&transaction, id, &stored.keys)?;
    }
    // Read back, so that what is returned has the store's precision.
    let stored = get(&transaction, id)?;
    transaction.commit().map_err(failed)?;
    Ok(stored)
}

pub(super) fn delete(connection: &mut Connection, id: &str) -> Result<bool, StoreError> {
    let transaction = write_transaction(connection)?;
    if transaction.execute("DELETE FROM apps WHERE id = ?1", [id]).map_err(failed)? == 0 {
        return Ok(false);
    }
    let revision = next_revision(&transaction)?;
    transaction
        .execute(
            "INSERT OR REPLACE INTO deleted_apps (id, revision, time) VALUES (?1, ?2, ?3)",
            params![id, revision, micros(Timestamp::now())],
        )
        .map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(true)
}

pub(super) fn touch(connection: &mut Connection, uses: &[(String, Timestamp)]) -> Result<(), StoreError> {
    let transaction = write_transaction(connection)?;
    {
        let mut statement = transaction
            .prepare_cached(
                "UPDATE apps SET last_used_time = ?2 WHERE id = ?1 AND ifnull(last_used_time < ?2, 1)",
            )
            .map_err(failed)?;
        for (id, time) in uses {
            statement.execute(params![id, micros(*time)]).map_err(failed)?;
        }
    }
    transaction.commit().map_err(failed)
}

/// The apps that a condition selects, with their keys.
pub(super) fn all_where(
    connection: &Connection,
    condition: &str,
    parameter: i64,
) -> Result<Vec<StoredApp>, StoreError> {
    let mut statement = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM apps WHERE {condition}"))
        .map_err(failed)?;
    let rows = statement.query_map([parameter], |row| Ok(row_of(row))).map_err(failed)?;
    rows.map(|row| {
        let (app, version) = row.map_err(failed)??;
        with_keys(connection, app, version)
    })
    .collect()
}

fn insert_keys(transaction: &Transaction<'_>, id: &str, keys: &[AppKey]) -> Result<(), StoreError> {
    let mut statement = transaction
        .prepare_cached(
            "INSERT INTO app_keys (digest, app_id, place, prefix, valid_until) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .map_err(failed)?;
    for (place, key) in (0_i64..).zip(keys) {
        statement
            .execute(params![key.digest.as_bytes(), id, place, key.prefix, key.valid_until.map(micros)])
            .map_err(|error| taken(error, "the key belongs to an app already"))?;
    }
    Ok(())
}

/// The revision of the change that this transaction makes. SQLite lets one transaction write at a time, so
/// revisions become visible in their order and none of them late.
fn next_revision(transaction: &Transaction<'_>) -> Result<i64, StoreError> {
    transaction
        .query_row("UPDATE store SET revision = revision + 1 RETURNING revision", [], |row| row.get(0))
        .map_err(failed)
}

fn with_keys(connection: &Connection, app: App, version: u64) -> Result<StoredApp, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT digest, prefix, valid_until FROM app_keys WHERE app_id = ?1 ORDER BY place")
        .map_err(failed)?;
    let rows = statement
        .query_map([&app.id], |row| {
            Ok((row.get::<_, [u8; 32]>(0)?, row.get(1)?, row.get::<_, Option<i64>>(2)?))
        })
        .map_err(failed)?;
    let keys = rows
        .map(|row| {
            let (digest, prefix, valid_until) = row.map_err(failed)?;
            let valid_until = valid_until.map(from_micros).transpose()?;
            Ok(AppKey { digest: KeyDigest::from(digest), prefix, valid_until })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(StoredApp { app, keys, version })
}

/// The app and its version: the revision of its last change.
fn row_of(row: &Row<'_>) -> Result<(App, u64), StoreError> {
    let revision: i64 = row.get(9).map_err(failed)?;
    Ok((app_of(row)?, revision.unsigned_abs()))
}

fn app_of(row: &Row<'_>) -> Result<App, StoreError> {
    let status: String = row.get(3).map_err(failed)?;
    let time = |column: usize| -> Result<Option<Timestamp>, StoreError> {
        row.get::<_, Option<i64>>(column).map_err(failed)?.map(from_micros).transpose()
    };
    let models: Option<String> = row.get(8).map_err(failed)?;
    Ok(App {
        id: row.get(0).map_err(failed)?,
        org_name: row.get(1).map_err(failed)?,
        key_prefix: row.get(2).map_err(failed)?,
        status: AppStatus::from_name(&status).ok_or_else(|| {
            StoreError::internal(format!("the store holds an unknown app status ({status})"))
        })?,
        create_time: from_micros(row.get(4).map_err(failed)?)?,
        expire_time: time(5)?,
        last_used_time: time(6)?,
        remark: row.get(7).map_err(failed)?,
        allowed_models: models.map(|text| models_of(&text)).transpose()?,
    })
}

fn models_text(models: Option<&[String]>) -> Option<String> {
    models.map(|models| serde_json::Value::from(models).to_string())
}

fn models_of(text: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(text).map_err(|error| {
        StoreError::internal("the store holds a broken list of allowed models").because(error)
    })
}

fn taken(error: rusqlite::Error, what: &str) -> StoreError {
    if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) {
        return StoreError::conflict(what).because(error);
    }
    failed(error)
}
