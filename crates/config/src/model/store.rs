//! `[store]`: where apps and records are kept. Its key `kind` decides which of the structs here applies.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vllm_gateway_sdk::{DurationText, SecretRef};

/// Where apps and access-log records are kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreOptions {
    /// Embedded.
    Sqlite(SqliteOptions),
    /// A MongoDB server, for several gateways with the same apps.
    Mongodb(MongodbOptions),
}

impl StoreOptions {
    /// The values of `kind`, the default first.
    pub const KINDS: [&'static str; 2] = ["sqlite", "mongodb"];

    /// How long known keys work while the store is away.
    #[must_use]
    pub const fn max_staleness(&self) -> DurationText {
        match self {
            Self::Sqlite(options) => options.max_staleness,
            Self::Mongodb(options) => options.max_staleness,
        }
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self::Sqlite(SqliteOptions::default())
    }
}

/// The embedded store: one file, one gateway. A change needs a restart.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SqliteOptions {
    /// The database file; it is made at the first start.
    pub path: PathBuf,
    /// How long known keys work while the database cannot be read, restarts included; after that every key is
    /// answered with 503.
    pub max_staleness: DurationText,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { path: PathBuf::from("data/gateway.db"), max_staleness: max_staleness() }
    }
}

/// A MongoDB server, 4.4 or newer, that several gateways may share. A change needs a restart.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MongodbOptions {
    /// The connection string, `mongodb://…` or `mongodb+srv://…`. It may hold a password, so it is kept elsewhere.
    pub uri: SecretRef,
    /// The name of the database.
    #[serde(default = "database")]
    pub database: String,
    /// How long known keys work while the server is away, restarts included; after that every key is answered
    /// with 503. A key that is revoked elsewhere meanwhile works here until then, or until the server is back.
    #[serde(default = "max_staleness")]
    pub max_staleness: DurationText,
}

const fn max_staleness() -> DurationText {
    DurationText::seconds(3600)
}

fn database() -> String {
    "vllm_gateway".to_owned()
}
