//! The access-log record: what is kept of every request, and nothing that was said in it.

mod outcome;
mod progress;
mod record;
mod records;

pub use outcome::{Outcome, TokenSource};
pub use progress::Progress;
pub use record::{Record, RecordView};
pub use records::{Gathered, Records};
