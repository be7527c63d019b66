//! `[journal]`: the way of access-log records to the store.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vllm_gateway_sdk::{DurationText, SizeText};

use super::DurationOrNever;

/// Where access-log records wait for the store, so that neither a crash nor an outage loses one. A change of any of its
/// options needs a restart.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JournalOptions {
    /// Its folder, on a local disk; each gateway has its own. Without it, `journal` beside the embedded store, or
    /// `data/journal` where the store is MongoDB.
    pub path: Option<String>,
    /// The most that it takes on the disk, at least 4 MiB; one record takes 1 KiB, a long one up to 8. While the store
    /// is away and this is used up, requests are refused with 503 `log_unavailable`.
    pub max_size: SizeText,
    /// How often records are synced, so that they outlive a loss of power, too; `"never"` leaves that to the system.
    /// A crash of the gateway loses none either way.
    pub sync_every: DurationOrNever,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            path: None,
            max_size: SizeText::mebibytes(1024),
            sync_every: DurationOrNever::from(DurationText::seconds(1)),
        }
    }
}
