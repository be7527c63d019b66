//! `[store]`: where apps and records are kept. Its key `kind` decides which of the structs here applies.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vllm_gateway_sdk::SecretRef;

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
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { path: PathBuf::from("data/gateway.db") }
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
}

fn database() -> String {
    "vllm_gateway".to_owned()
}
