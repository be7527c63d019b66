//! What a request needs of the store without waiting for it: whose key it is, and room for its record.
//!
//! [`Directory`] keeps every app in memory and in step with the store; [`RecordWriter`] takes records and ships
//! them in batches. Neither ever makes a request wait for the store.

mod directory;
mod entry;
mod key;
mod shards;
mod sync;
mod writer;

pub use directory::{Change, Directory};
pub use key::Key;
pub use writer::{Flushed, RecordCounts, RecordWriter, WriterOptions};
