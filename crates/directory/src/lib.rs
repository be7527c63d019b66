//! What a request needs to know of the apps, without waiting for the store: whose key it is.
//!
//! [`Directory`] keeps every app in memory and in step with the store, with a copy on the disk for a start while the
//! store is away. It never makes a request wait for the store.

mod change;
mod copy;
mod directory;
mod entry;
mod freshness;
mod home;
mod keeping;
mod key;
mod known;
mod shards;
mod sync;

pub use change::Change;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use copy::fuzz;
pub use directory::Directory;
pub use key::Key;
