//! Apps in MongoDB: one document each, keys included, so every change is one atomic update.

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use mongodb::bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use mongodb::options::ReturnDocument;
use uuid::Uuid;

use super::connection::{Connection, LONGEST_READ};
use super::documents::{broken, integer, maybe_text, maybe_time, text, time, time_value};
use super::feed;
use super::schema::APPS;
use crate::{App, AppChange, AppKey, AppQuery, AppStatus, KeyDigest, Page, StoreError, StoredApp};

/// How often a change is tried anew because another one came between reading and writing.
const ATTEMPTS: usize = 50;
/// How many updates one command carries.
const BATCH: usize = 500;

pub(super) async fn insert(connection: &Connection, stored: &StoredApp) -> Result<(), StoreError> {
    let token = Uuid::new_v4().to_string();
    let mut document = changing(stored, 1, &token);
    document.insert("_id", &stored.app.id);
    document.insert("createTime", time_value(stored.app.create_time));
    document.insert("lastUsedTime", maybe_time_value(stored.app.last_used_time));
    let apps = connection.collection(APPS).await?;
    connection
        .run("inserting an app", apps.insert_one(document))
        .await
        .map_err(|error| taken(error, &stored.app.id))?;
    tell(connection, &stored.app.id, &token).await;
    Ok(())
}

pub(super) async fn get(connection: &Connection, id: &str) -> Result<Option<StoredApp>, StoreError> {
    find(connection, id).await?.as_ref().map(stored_of).transpose()
}

async fn find(connection: &Connection, id: &str) -> Result<Option<Document>, StoreError> {
    let apps = connection.collection(APPS).await?;
    connection.run("reading an app", apps.find_one(there(id)).max_time(LONGEST_READ)).await
}

pub(super) async fn list(
    connection: &Connection,
    query: &AppQuery,
    page_num: u64,
    page_size: u32,
) -> Result<Page<App>, StoreError> {
    let offset = crate::page::items_before(page_num, page_size)?;
    let mut filter = doc! { "deleted": { "$ne": true } };
    if let Some(status) = query.status {
        filter.insert("status", status.as_str());
    }
    if let Some(part) = &query.org_name {
        // Taken literally: no regular expression, and `$literal` keeps a leading `$` from naming a field.
        let place = doc! { "$indexOfCP": ["$orgNameFolded", { "$literal": part.to_lowercase() }] };
        filter.insert("$expr", doc! { "$gte": [place, 0] });
    }
    let apps = connection.collection(APPS).await?;
    let total =
        connection.run("counting apps", apps.count_documents(filter.clone()).max_time(LONGEST_READ)).await?;
    let find = apps
        .find(filter)
        .sort(doc! { "createTime": -1, "_id": -1 })
        .skip(offset.unsigned_abs())
        .limit(i64::from(page_size))
        .max_time(LONGEST_READ);
    let documents: Vec<Document> =
        connection.run("listing apps", async { find.await?.try_collect().await }).await?;
    let items = documents
        .iter()
        .map(|document| stored_of(document).map(|stored| stored.app))
        .collect::<Result<_, _>>()?;
    Ok(Page { items, page_num, page_size, total })
}

/// Reads, changes and writes back, if nothing changed meanwhile; else once more.
pub(super) async fn update(
    connection: &Connection,
    id: &str,
    change: &AppChange,
) -> Result<Option<StoredApp>, StoreError> {
    let apps = connection.collection(APPS).await?;
    for _ in 0..ATTEMPTS {
        let Some(document) = find(connection, id).await? else { return Ok(None) };
        let mut stored = stored_of(&document)?;
        stored.apply(change.clone(), Timestamp::now())?;
        let token = Uuid::new_v4().to_string();
        let mut unchanged = there(id);
        unchanged.insert("change", text(&document, "change")?);
        // Nobody else counts on from here: the token says that nothing came between.
        let version = i64::try_from(stored.version).map_err(|_| broken("version"))? + 1;
        let update = apps
            .find_one_and_update(unchanged, doc! { "$set": changing(&stored, version, &token) })
            .return_document(ReturnDocument::After);
        let changed = connection.run("changing an app", update).await.map_err(|error| taken(error, id))?;
        if let Some(document) = changed {
            tell(connection, id, &token).await;
            return stored_of(&document).map(Some);
        }
    }
    Err(StoreError::unavailable("the app is being changed by too many at once"))
}

pub(super) async fn delete(connection: &Connection, id: &str) -> Result<bool, StoreError> {
    let apps = connection.collection(APPS).await?;
    let token = Uuid::new_v4().to_string();
    // What is left holds neither the name nor the digests; it goes when the deletion has been announced.
    let bare = doc! { "_id": "$_id", "deleted": { "$literal": true }, "change": &token, "pending": &token };
    let update = apps.update_one(there(id), vec![doc! { "$replaceWith": bare }]);
    if connection.run("deleting an app", update).await?.matched_count == 0 {
        return Ok(false);
    }
    tell(connection, id, &token).await;
    Ok(true)
}

pub(super) async fn touch(connection: &Connection, uses: &[(String, Timestamp)]) -> Result<(), StoreError> {
    for slice in uses.chunks(BATCH) {
        let updates: Vec<Document> = slice
            .iter()
            .map(|(id, time)| doc! { "q": there(id), "u": { "$max": { "lastUsedTime": time_value(*time) } } })
            .collect();
        let concern = doc! { "w": "majority", "j": true, "wtimeout": 5_000 };
        let command = doc! { "update": APPS, "updates": updates, "ordered": false, "writeConcern": concern };
        let answer = connection.command("noting uses", command).await?;
        // A command succeeds as such even when parts of it did not.
        if answer.contains_key("writeErrors") || answer.contains_key("writeConcernError") {
            return Err(StoreError::unavailable("MongoDB did not note when apps were used"));
        }
        integer(&answer, "n")?;
    }
    Ok(())
}

/// Announces a change that is committed. Failing does not undo it: it stays marked, which tells it as well.
async fn tell(connection: &Connection, id: &str, token: &str) {
    if let Err(error) = feed::announce(connection, id, token).await {
        tracing::warn!(app = id, error = error.full(), "a change of an app could not be announced yet");
    }
}

fn there(id: &str) -> Document {
    doc! { "_id": id, "deleted": { "$ne": true } }
}

/// What a change writes, with its version, its token and its mark.
fn changing(stored: &StoredApp, version: i64, token: &str) -> Document {
    let app = &stored.app;
    let keys: Vec<Document> = stored
        .keys
        .iter()
        .map(|key| {
            let digest = Binary { subtype: BinarySubtype::Generic, bytes: key.digest.as_bytes().to_vec() };
            doc! { "digest": digest, "prefix": &key.prefix, "validUntil": maybe_time_value(key.valid_until) }
        })
        .collect();
    doc! {
        "orgName": &app.org_name,
        "orgNameFolded": app.org_name.to_lowercase(),
        "keyPrefix": &app.key_prefix,
        "status": app.status.as_str(),
        "expireTime": maybe_time_value(app.expire_time),
        "remark": app.remark.as_deref(),
        "allowedModels": app.allowed_models.as_deref(),
        "keys": keys,
        "version": version,
        "change": token,
        "pending": token,
    }
}

fn maybe_time_value(time: Option<Timestamp>) -> Bson {
    time.map_or(Bson::Null, time_value)
}

pub(super) fn stored_of(document: &Document) -> Result<StoredApp, StoreError> {
    let status = text(document, "status")?;
    let allowed_models = match document.get("allowedModels") {
        None | Some(Bson::Null) => None,
        Some(Bson::Array(models)) => {
            let models = models.iter().map(|model| model.as_str().map(str::to_owned));
            Some(models.collect::<Option<_>>().ok_or_else(|| broken("allowedModels"))?)
        }
        Some(_) => return Err(broken("allowedModels")),
    };
    let keys = document.get_array("keys").map_err(|_| broken("keys"))?;
    Ok(StoredApp {
        app: App {
            id: text(document, "_id")?,
            org_name: text(document, "orgName")?,
            key_prefix: text(document, "keyPrefix")?,
            status: AppStatus::from_name(&status).ok_or_else(|| broken("status"))?,
            create_time: time(document, "createTime")?,
            expire_time: maybe_time(document, "expireTime")?,
            last_used_time: maybe_time(document, "lastUsedTime")?,
            remark: maybe_text(document, "remark")?,
            allowed_models,
        },
        keys: keys.iter().map(key_of).collect::<Result<_, _>>()?,
        version: version_of(document)?,
    })
}

/// 0 for an app that was written before versions were counted.
fn version_of(document: &Document) -> Result<u64, StoreError> {
    if !document.contains_key("version") {
        return Ok(0);
    }
    u64::try_from(integer(document, "version")?).map_err(|_| broken("version"))
}

fn key_of(value: &Bson) -> Result<AppKey, StoreError> {
    let key = value.as_document().ok_or_else(|| broken("keys"))?;
    let Some(Bson::Binary(digest)) = key.get("digest") else { return Err(broken("keys.digest")) };
    let digest: [u8; 32] = digest.bytes.as_slice().try_into().map_err(|_| broken("keys.digest"))?;
    Ok(AppKey {
        digest: KeyDigest::from(digest),
        prefix: text(key, "prefix")?,
        valid_until: maybe_time(key, "validUntil")?,
    })
}

fn taken(error: StoreError, id: &str) -> StoreError {
    match error {
        StoreError::Conflict { source, .. } => StoreError::Conflict {
            // The server names the index, and a digest is nothing to show.
            message: if source.as_ref().is_some_and(|source| source.to_string().contains("index: digest")) {
                "the key belongs to an app already".to_owned()
            } else {
                format!("an app with the id {id} exists already")
            },
            source: None,
        },
        other => other,
    }
}
