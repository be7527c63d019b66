//! The directory of apps, with its copy on the disk: in which file, of which store, and whether that still is the one.

use std::{path::Path, time::Duration};

use anyhow::Context;
use vllm_gateway_config::{Config, StoreOptions};
use vllm_gateway_directory::Directory;
use vllm_gateway_store::{AppQuery, Store, StoreError};

/// How long a start waits for the store to say which one it is; one that answers later is asked then.
const PATIENCE: Duration = Duration::from_secs(1);

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

/// Refuses to start on a database that was lost or emptied, while the local copy knows apps: it would shut out every
/// client, and the copy would follow it.
pub(super) async fn recognise(directory: &Directory, store: &dyn Store) -> anyhow::Result<()> {
    let asked = tokio::time::timeout(PATIENCE, directory.recognise(store)).await;
    // A store that is away is waited for, as ever, and asked again with its first answer.
    let Ok(Err(error @ StoreError::Invalid { .. })) = asked else { return Ok(()) };
    let found = tokio::time::timeout(PATIENCE, store.list(&AppQuery::default(), 1, 1)).await;
    let found = match found {
        Ok(Ok(page)) => format!("[store] holds {} apps", page.total),
        _ => "[store]".to_owned(),
    };
    // What was opened must leave nothing beside the file that is put back here.
    store.close().await;
    directory.put_back().await.context("cannot put the local copy of the apps back")?;
    Err(anyhow::Error::new(error).context(found))
}
