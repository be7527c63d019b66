//! The database's schema and the steps that lead to it.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::failed;
use crate::StoreError;

mod two;

/// Marks the file as ours (`PRAGMA application_id`): "vgw1".
const APPLICATION_ID: i32 = 0x7667_7731;

/// A script, and what it cannot say.
type Migration = (&'static str, fn(&Transaction<'_>) -> Result<(), StoreError>);

/// One for each version; one that was released is never changed, only followed by another.
const MIGRATIONS: [Migration; 2] =
    [(include_str!("schema/001.sql"), |_| Ok(())), (include_str!("schema/002.sql"), two::copy)];

/// Brings the database to the newest schema, all steps in one transaction.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    // Taken at once for writing, so of two processes that open a new file one waits for the other.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let pragma =
        |name: &str| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(failed);
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if application != APPLICATION_ID && (tables > 0 || application != 0 || version != 0) {
        return Err(StoreError::invalid(
            "this is a database of another program: name a file of its own in `store.path`",
        ));
    }
    let done = usize::try_from(version).ok().filter(|&done| done <= MIGRATIONS.len()).ok_or_else(|| {
        StoreError::invalid(format!(
            "the database has schema {version}, this vllm-gateway knows {} at most: use the newer vllm-gateway that \
             wrote it, or another file",
            MIGRATIONS.len()
        ))
    })?;
    for (script, rest) in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(script).map_err(failed)?;
        rest(&transaction)?;
    }
    if done < MIGRATIONS.len() {
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        transaction.pragma_update(None, "user_version", MIGRATIONS.len().to_string()).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_empty_database_is_brought_to_the_newest_schema_and_stays_there() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        connection.execute("UPDATE store SET revision = 7", []).unwrap();
        migrate(&mut connection).unwrap();
        let revision: i64 = connection.query_row("SELECT revision FROM store", [], |row| row.get(0)).unwrap();
        assert_eq!(revision, 7);
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let error = migrate(&mut connection).unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }));
        assert!(error.to_string().contains("schema 99"), "{error}");
    }

    #[test]
    fn a_database_of_another_program_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE theirs (id INTEGER)").unwrap();
        assert!(migrate(&mut connection).unwrap_err().to_string().contains("another program"));
    }
}
