//! One gateway for each database file: an advisory lock on a file beside it, which the kernel releases when the
//! process ends, however it ends.
//!
//! The lock file stays when it is released: were it removed, two could hold locks on two files of its name.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::open::{blocked, for_the_owner, make_folder};
use crate::StoreError;

/// The right to be the gateway on a database file, until it is dropped.
#[derive(Debug)]
pub struct SqliteLock {
    _file: File,
}

/// Locks the database of that path, which need not be there yet; only its folder is made.
/// [`StoreError::Conflict`] if another gateway has it.
pub fn lock_sqlite(path: &Path) -> Result<SqliteLock, StoreError> {
    make_folder(path)?;
    let lock = lock_file(path);
    let mut options = OpenOptions::new();
    let mut file = for_the_owner(options.read(true).write(true).create(true).truncate(false))
        .open(&lock)
        .map_err(|error| blocked(&lock, "make the lock file", error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(taken(path, &mut file)),
        Err(TryLockError::Error(error)) => {
            return Err(blocked(&lock, "lock it, which needs a local disk", error));
        }
    }
    // Who has the lock is told for people only, so that it does not matter if it cannot be written.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(SqliteLock { _file: file })
}

/// `PATH.lock`, where `PATH` is the file itself, not a link to it: one file has one lock.
fn lock_file(path: &Path) -> PathBuf {
    let mut name = OsString::from(path.canonicalize().unwrap_or_else(|_missing| path.to_owned()));
    name.push(".lock");
    name.into()
}

fn taken(path: &Path, file: &mut File) -> StoreError {
    let mut text = String::new();
    let holder = file.take(32).read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok());
    let holder = holder.map(|process| format!(" (process {process})")).unwrap_or_default();
    StoreError::conflict(format!(
        "{}: another gateway{holder} is running on this database: stop it, or give this one a [store] of its own; \
         several gateways share a store of kind \"mongodb\"",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_database_is_locked_once_and_again_when_the_lock_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/gateway.db");
        let held = lock_sqlite(&path).unwrap();
        let error = lock_sqlite(&path).unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }));
        let text = error.to_string();
        assert!(text.contains("gateway.db") && text.contains(&std::process::id().to_string()), "{text}");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path().join("new/gateway.db.lock")), 0o600);
        assert_eq!(mode(&folder.path().join("new")), 0o700);
        assert!(!path.exists(), "locking makes no database");
        drop(held);
        lock_sqlite(&path).unwrap();
    }

    #[test]
    fn a_link_to_the_database_leads_to_the_same_lock() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("gateway.db"), folder.path().join("link.db"));
        File::create(&path).unwrap();
        symlink(&path, &link).unwrap();
        let _held = lock_sqlite(&link).unwrap();
        assert!(matches!(lock_sqlite(&path), Err(StoreError::Conflict { .. })));
    }
}
