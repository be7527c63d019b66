//! Where apps and access-log records are kept: one set of traits, SQLite (embedded default) and MongoDB.
//!
//! [`Store`] is [`AppStore`] and [`LogStore`] together; [`open_sqlite`] and [`connect_mongodb`] give one.
//! Both keep the same promises, which one suite checks on both (`tests/suite`):
//!
//! - **A key never comes here**, only its SHA-256 digest, and the `Debug` of a digest shows nothing.
//! - **Appending is idempotent** by record id: shipping a batch again after an unknown outcome stores and
//!   counts nothing twice. A record that cannot be stored is named; the others are stored.
//! - **Usage is exact** with duplicates, with records that come late and after retention has purged the
//!   records. How that is kept without transactions is written in [`mongo`]; SQLite counts in the transaction
//!   of the insert.
//! - **No committed change of an app is missed** by [`AppStore::changes`], whoever made it and however it
//!   ended.
//!
//! # Times
//!
//! Records and apps come back with the precision of the store: microseconds from SQLite (64-bit integers),
//! milliseconds from MongoDB (its datetime). Times are rounded down when stored; in a query `from` is rounded
//! down and `to` up to that unit. Ranges are half open: `from <= time < to`. Records are shown in the order of
//! (time, id), the time in milliseconds: those of one millisecond are in the order of their ids, on both stores.
//!
//! # TLS
//!
//! The MongoDB driver speaks TLS through rustls. The *binary* chooses the provider, once and before the first
//! connection: `rustls::crypto::ring::default_provider().install_default()`. This crate never does.

mod app;
mod calm;
mod check;
mod cursor;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod log;
pub mod mongo;
mod pace;
mod page;
pub mod sqlite;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod times;
mod usage;
mod usher;

pub use app::{App, AppChange, AppKey, AppQuery, AppStatus, ChangeMark, Changes, KeyDigest, StoredApp};
pub use check::MAX_KEYS;
pub use error::StoreError;
pub use log::{Appended, LogQuery, Rejected};
pub use mongo::connect_mongodb;
pub use pace::{Courtesy, Pace};
pub use page::{MAX_EXPORT, MAX_PAGE_SIZE, Page};
pub use sqlite::{SqliteLock, lock_sqlite, open_sqlite, open_sqlite_later};
pub use store::{AppStore, LogStore, Store, StoreKind};
pub use usage::{Interval, UsageQuery, UsageRow};
pub use vllm_gateway_record::{Outcome, Record, Records, TokenSource};
