//! The directory of apps, with its copy on the disk: in which file, and of which store.

use std::path::Path;

use anyhow::Context;
use vllm_gateway_config::{Config, StoreOptions};
use vllm_gateway_directory::Directory;

/// The directory, with what an earlier run has left in `folder`.
pub(super) async fn open_directory(config: &Config, folder: &Path) -> anyhow::Result<Directory> {
    let max_staleness = config.store.max_staleness().get();
    let store = match &config.store {
        StoreOptions::Sqlite(sqlite) => {
            let path = config.base.join(&sqlite.path);
            // A copy stays good when the gateway is started from another folder.
            format!("sqlite {}", std::path::absolute(&path).unwrap_or(path).display())
        }
        StoreOptions::Mongodb(mongodb) => {
            let uri = mongodb.uri.read(&config.base).context("[store] uri")?;
            vllm_gateway_store::mongo::place(&uri, &mongodb.database)
        }
    };
    Ok(Directory::with_copy(max_staleness, folder.join("apps.json"), &store).await)
}
