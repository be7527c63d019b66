//! Queries for access-log records, and the answer to an append.

use jiff::Timestamp;
use vllm_gateway_record::Outcome;

/// Which records are meant: all conditions together; the default is all records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Of that app.
    pub app_id: Option<String>,
    /// That asked for that model.
    pub model: Option<String>,
    /// That ended so.
    pub outcome: Option<Outcome>,
    /// That were answered with that status.
    pub status: Option<u16>,
    /// At or after that time.
    pub from: Option<Timestamp>,
    /// Before that time.
    pub to: Option<Timestamp>,
    /// With that request id.
    pub request_id: Option<String>,
}

/// What became of the records of one append.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// How many are in the store now, those included that were there before.
    pub stored: usize,
    /// Those that can never be stored.
    pub rejected: Vec<Rejected>,
}

/// A record that can never be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its place in the slice that was appended.
    pub index: usize,
    /// Why: which field, and what is allowed.
    pub reason: String,
}
