//! The collections, their indexes and the version of their layout: made and checked in the background.

use std::time::Duration;

use mongodb::IndexModel;
use mongodb::bson::{Document, doc};
use mongodb::options::{IndexOptions, ReturnDocument};
use uuid::Uuid;

use super::connection::Connection;
use super::documents::{integer, text};
use crate::StoreError;

pub(super) const APPS: &str = "apps";
pub(super) const FEED: &str = "app_feed";
pub(super) const RECORDS: &str = "records";
pub(super) const HOURS: &str = "usage_hours";
pub(super) const META: &str = "meta";

const VERSION: i64 = 1;

/// How long a purged id stays known.
const PURGED_IDS_ARE_KEPT: Duration = Duration::from_hours(24);

/// Makes what is missing and refuses what differs. Repeatable, and several gateways may do it at once.
pub(super) async fn ensure(connection: &Connection) -> Result<(), StoreError> {
    version(connection).await?;
    for (name, indexes) in [(APPS, apps()), (RECORDS, records())] {
        let collection = connection.collection(name).await?;
        let made = connection.run("making indexes", collection.create_indexes(indexes)).await;
        made.map_err(|error| match error {
            // The server compares name, fields and options with what is there.
            StoreError::Internal { source, .. } => StoreError::Internal {
                message: format!(
                    "an index of the collection {name} differs from what this vllm-gateway needs: drop that index"
                ),
                source,
            },
            other => other,
        })?;
    }
    super::feed::ensure(connection).await
}

async fn version(connection: &Connection) -> Result<(), StoreError> {
    let meta = connection.collection(META).await?;
    let found = connection
        .run(
            "reading the schema's version",
            meta.find_one_and_update(
                doc! { "_id": "schema" },
                doc! { "$setOnInsert": { "version": VERSION } },
            )
            .upsert(true)
            .return_document(ReturnDocument::After),
        )
        .await?;
    let version = found.map_or(Ok(VERSION), |found| integer(&found, "version"))?;
    if version > VERSION {
        return Err(StoreError::invalid(format!(
            "the database has schema {version}, this vllm-gateway knows {VERSION} at most: use the newer vllm-gateway \
             that wrote it, or another database"
        )));
    }
    Ok(())
}

/// What the database was named by the first gateway that asked; it is in every dump of the collection `meta`.
pub(super) async fn identity(connection: &Connection) -> Result<String, StoreError> {
    let meta = connection.collection(META).await?;
    // Of two that ask first at once one may find the other's name taken, and there by then.
    for _ in 0..2 {
        let name = doc! { "$setOnInsert": { "name": Uuid::new_v4().to_string() } };
        let named = meta.find_one_and_update(doc! { "_id": "identity" }, name).upsert(true);
        match connection
            .run("asking which database it is", named.return_document(ReturnDocument::After))
            .await
        {
            Ok(Some(found)) => return text(&found, "name"),
            Ok(None) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::unavailable("the name of the database vanished while it was read"))
}

fn apps() -> Vec<IndexModel> {
    vec![
        // Sparse: what is left of a deleted app has no keys.
        index("digest", doc! { "keys.digest": 1 }, IndexOptions::builder().unique(true).sparse(true).build()),
        index("pending", doc! { "pending": 1 }, IndexOptions::builder().sparse(true).build()),
        index("newest", doc! { "createTime": -1, "_id": -1 }, IndexOptions::default()),
    ]
}

fn records() -> Vec<IndexModel> {
    let filtered = |name: &str, field: &str| {
        index(name, doc! { field: 1, "time": -1, "_id": -1 }, IndexOptions::default())
    };
    vec![
        index("time", doc! { "time": -1, "_id": -1 }, IndexOptions::default()),
        filtered("app", "appId"),
        filtered("model", "model"),
        filtered("outcome", "outcome"),
        filtered("status", "status"),
        filtered("request", "requestId"),
        index("unfolded", doc! { "unfolded": 1 }, IndexOptions::builder().sparse(true).build()),
        index(
            "purged",
            doc! { "purgedAt": 1 },
            IndexOptions::builder().sparse(true).expire_after(PURGED_IDS_ARE_KEPT).build(),
        ),
    ]
}

fn index(name: &str, keys: Document, mut options: IndexOptions) -> IndexModel {
    options.name = Some(name.to_owned());
    IndexModel::builder().keys(keys).options(options).build()
}
