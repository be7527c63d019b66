//! Access-log records on their way to the store, so that none is lost.
//!
//! A record is written to the [journal](self) before an upstream is called, with every chunk, and at the end: a copy
//! into a mapped file, which a kill of the process does not take back. From there [`RecordWriter`] ships it to the
//! store, and clears it only when the store has it. How the files look is in `layout.rs`; why, in
//! `docs/reliability.md`.

mod area;
mod codec;
mod folder;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod gently;
mod journal;
mod keeper;
mod layout;
mod mapped;
mod place;
mod recovery;
mod region;
mod run;
mod salvage;
#[cfg(test)]
mod tests;
mod writer;

pub use area::{Area, Disk};
pub use folder::JournalError;
pub use writer::{Flushed, RecordCounts, RecordWriter, WriterOptions};
