//! How a change of an app is told to other gateways, without transactions, change streams or clocks.
//!
//! One document, the *feed*, lists the latest announcements (a fresh id each, and the app it is about) in the
//! order in which they were pushed. A change goes in three steps, each atomic by itself:
//!
//! 1. the app's document is changed and marked `pending`, in one update (a deletion leaves the bare document,
//!    marked);
//! 2. the change is announced: pushed to the end of the feed;
//! 3. the mark is taken off (what a deletion left is removed).
//!
//! So from the moment it is committed, a change is marked, or announced, or both. A reader looks for marks
//! *first*, then at the feed, then at the apps it learned of; its mark is the last announcement it saw. A
//! change that it finds in neither place was committed after it looked for marks and announced after it read
//! the feed, so the announcement comes behind its mark: nothing is missed. Announcements carry no state, the
//! app is read afterwards, so order and repetition do no harm. When a writer dies between the steps, the mark
//! stays: readers keep telling the change, and `roll_up` announces it.
//!
//! The feed keeps its last 1,024 announcements. A reader whose mark is not among them — it slept, or the
//! database was replaced — gets everything anew. Reads of one round are made in one causally consistent
//! session with majority read concern, so what a replica set may roll back is never told.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};
use uuid::Uuid;

use super::apps::stored_of;
use super::connection::{Connection, LONGEST_READ};
use super::documents::text;
use super::schema::{APPS, FEED};
use crate::app::Mark;
use crate::{ChangeMark, Changes, StoreError};

const LENGTH: i32 = 1_024;
const ID: &str = "feed";

/// Makes the feed with a first announcement about nothing, so that there always is a last one.
pub(super) async fn ensure(connection: &Connection) -> Result<(), StoreError> {
    let feed = connection.collection(FEED).await?;
    let first = doc! { "$setOnInsert": { "entries": [entry("")] } };
    match connection.run("making the feed", feed.update_one(doc! { "_id": ID }, first).upsert(true)).await {
        // Another gateway made it at the same moment.
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn entry(app: &str) -> Document {
    doc! { "id": Uuid::new_v4().to_string(), "app": app }
}

/// Steps 2 and 3 for the change that left `token` as its mark.
pub(super) async fn announce(connection: &Connection, app: &str, token: &str) -> Result<(), StoreError> {
    let feed = connection.collection(FEED).await?;
    let push = doc! { "$push": { "entries": { "$each": [entry(app)], "$slice": -LENGTH } } };
    connection.run("announcing a change", feed.update_one(doc! { "_id": ID }, push).upsert(true)).await?;
    let apps = connection.collection(APPS).await?;
    let marked = doc! { "_id": app, "pending": token };
    let gone = doc! { "_id": app, "pending": token, "deleted": true };
    if connection.run("ending a deletion", apps.delete_one(gone)).await?.deleted_count == 0 {
        connection
            .run("ending a change", apps.update_one(marked, doc! { "$unset": { "pending": "" } }))
            .await?;
    }
    Ok(())
}

/// Announces what writers left behind that died, or were cut off, between the steps.
pub(super) async fn announce_leftovers(connection: &Connection) -> Result<(), StoreError> {
    let mut session = connection.session().await?;
    for document in pending(connection, &mut session).await? {
        announce(connection, &text(&document, "_id")?, &text(&document, "pending")?).await?;
    }
    Ok(())
}

pub(super) async fn since(connection: &Connection, mark: &ChangeMark) -> Result<Changes, StoreError> {
    let mut session = connection.session().await?;
    let mut found = BTreeMap::new();
    let mut looked_for = BTreeSet::new();
    let known = match &mark.0 {
        Mark::Mongodb { announcement } => announcement.as_str(),
        _ => "",
    };
    // Marks first: see above.
    for document in pending(connection, &mut session).await? {
        looked_for.insert(text(&document, "_id")?);
    }
    let (last, news) = read_feed(connection, &mut session, known).await?;
    let complete = news.is_none();
    looked_for.extend(news.unwrap_or_default().into_iter().filter(|app| !app.is_empty()));
    let filter = if complete {
        looked_for.clear();
        doc! { "deleted": { "$ne": true } }
    } else {
        doc! { "_id": { "$in": looked_for.iter().collect::<Vec<_>>() }, "deleted": { "$ne": true } }
    };
    if complete || !looked_for.is_empty() {
        for document in read_apps(connection, &mut session, filter).await? {
            let id = text(&document, "_id")?;
            match stored_of(&document) {
                Ok(stored) => {
                    looked_for.remove(&id);
                    found.insert(id, stored);
                }
                // One broken app must not blind a gateway for all others; its own keys stop to work.
                Err(error) => {
                    tracing::error!(app = id, error = error.full(), "an app in the store cannot be read");
                }
            }
        }
    }
    Ok(Changes {
        upserts: found.into_values().collect(),
        deleted: looked_for.into_iter().collect(),
        complete,
        mark: ChangeMark(Mark::Mongodb { announcement: last }),
    })
}

async fn pending(connection: &Connection, session: &mut ClientSession) -> Result<Vec<Document>, StoreError> {
    read_projected(connection, session, doc! { "pending": { "$exists": true } }, doc! { "pending": 1 }).await
}

async fn read_apps(
    connection: &Connection,
    session: &mut ClientSession,
    filter: Document,
) -> Result<Vec<Document>, StoreError> {
    read_projected(connection, session, filter, Document::new()).await
}

async fn read_projected(
    connection: &Connection,
    session: &mut ClientSession,
    filter: Document,
    projection: Document,
) -> Result<Vec<Document>, StoreError> {
    let apps = connection.collection(APPS).await?;
    connection
        .run("reading changed apps", async {
            let find = apps.find(filter).projection(projection).max_time(LONGEST_READ);
            find.session(&mut *session).await?.stream(session).try_collect().await
        })
        .await
}

/// The last announcement, and the apps announced behind a known one; none if that is not there (any more).
async fn read_feed(
    connection: &Connection,
    session: &mut ClientSession,
    known: &str,
) -> Result<(String, Option<Vec<String>>), StoreError> {
    let feed = connection.collection(FEED).await?;
    for _ in 0..2 {
        // The server picks the news out, so that a poll without any is small.
        let projection = doc! {
            "last": { "$last": "$entries.id" },
            "news": { "$let": {
                "vars": { "at": { "$indexOfArray": ["$entries.id", { "$literal": known }] } },
                "in": { "$cond": [
                    { "$lt": ["$$at", 0] },
                    null,
                    { "$slice": ["$entries.app", { "$add": ["$$at", 1] }, LENGTH] },
                ] },
            } },
        };
        let find = feed.find_one(doc! { "_id": ID }).projection(projection).max_time(LONGEST_READ);
        let Some(document) = connection.run("reading the feed", find.session(&mut *session)).await? else {
            // A new database, whose feed nobody has made yet.
            ensure(connection).await?;
            continue;
        };
        let news = match document.get("news") {
            Some(Bson::Array(apps)) => {
                Some(apps.iter().filter_map(Bson::as_str).map(str::to_owned).collect())
            }
            _ => None,
        };
        return Ok((text(&document, "last")?, news));
    }
    Err(StoreError::unavailable("the feed of changes vanished while it was read"))
}
