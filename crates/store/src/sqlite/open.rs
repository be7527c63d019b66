//! Opening the database: the file with its permissions, and each connection with its settings.

use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{failed, schema};
use crate::StoreError;

/// How long a connection waits for another process.
const BUSY: Duration = Duration::from_secs(5);
/// Prepared statements that a connection keeps; the filters of the log alone combine to more than the default
/// of 16.
const STATEMENTS: usize = 64;

/// The connection that writes: makes the file when it is missing and brings its schema up to date.
pub(super) fn writer(path: &Path) -> Result<Connection, StoreError> {
    make_file(path)?;
    let mut connection = connect(path)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(failed)?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(StoreError::invalid(format!(
            "{}: cannot keep a write-ahead log (SQLite chose {mode}): use a file on a local disk",
            path.display()
        )));
    }
    schema::migrate(&mut connection).map_err(|error| at(path, error))?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true).map_err(failed)?;
    Ok(connection)
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    // The file is there by now; without SQLITE_OPEN_CREATE nothing else makes it, with other permissions.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| at(path, failed(error)))?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "synchronous", "normal").map_err(|error| at(path, failed(error)))?;
    connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
    Ok(connection)
}

fn make_file(path: &Path) -> Result<(), StoreError> {
    make_folder(path)?;
    match for_the_owner(OpenOptions::new().write(true).create_new(true)).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(blocked(path, "make the file", error)),
    }
}

/// Makes the folder of that file, if it is missing.
pub(super) fn make_folder(path: &Path) -> Result<(), StoreError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(|error| blocked(path, "make its folder", error))?;
    }
    Ok(())
}

/// Whoever makes the file by this keeps it to himself.
pub(super) fn for_the_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// The error for a file that cannot be made or used.
pub(super) fn blocked(path: &Path, what: &str, error: std::io::Error) -> StoreError {
    StoreError::invalid(format!("{}: cannot {what}: {error}", path.display())).because(error)
}

/// The error with the path in front, for whoever wrote it into the configuration.
fn at(path: &Path, error: StoreError) -> StoreError {
    let place = |message: String| format!("{}: {message}", path.display());
    match error {
        StoreError::Unavailable { message, source } => {
            StoreError::Unavailable { message: place(message), source }
        }
        StoreError::TooSlow { message, source } => StoreError::TooSlow { message: place(message), source },
        StoreError::Conflict { message, source } => StoreError::Conflict { message: place(message), source },
        StoreError::Invalid { message, source } => StoreError::Invalid { message: place(message), source },
        StoreError::Internal { message, source } => StoreError::Internal { message: place(message), source },
    }
}
