//! A SQLite store that gives its queries less time, so that a test need not fill a disk to see one stopped.

use std::path::PathBuf;
use std::time::Duration;

use crate::StoreError;
use crate::sqlite::SqliteStore;

/// As [`open_sqlite`](crate::open_sqlite), with this as the longest that a query may take. The clock is looked at
/// after some thousand rows only, so that short queries are answered even without any time.
pub async fn open_sqlite_within(
    path: impl Into<PathBuf>,
    longest_query: Duration,
) -> Result<SqliteStore, StoreError> {
    crate::sqlite::open_within(path.into(), longest_query).await
}
