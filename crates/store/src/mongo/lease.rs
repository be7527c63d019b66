//! Whose turn it is among several gateways. Only to spare the database the same work twice: nothing depends
//! on it, and one that dies with a lease holds the others up for half a minute.

use mongodb::bson::{DateTime, doc};
use uuid::Uuid;

use super::connection::Connection;
use super::schema::META;
use crate::StoreError;

const MILLIS: i64 = 30_000;

pub(super) async fn take(connection: &Connection, name: &str, me: Uuid) -> Result<bool, StoreError> {
    let meta = connection.collection(META).await?;
    let (id, me) = (format!("lease:{name}"), me.to_string());
    // By the server's clock, the only one that all gateways share.
    let free = doc! {
        "_id": &id,
        "$or": [{ "holder": &me }, { "$expr": { "$lt": ["$until", "$$NOW"] } }],
    };
    let mine = vec![doc! { "$set": { "holder": &me, "until": { "$add": ["$$NOW", MILLIS] } } }];
    for _ in 0..2 {
        let taken = connection.run("taking a lease", meta.update_one(free.clone(), mine.clone())).await?;
        if taken.matched_count == 1 {
            return Ok(true);
        }
        let new = doc! { "_id": &id, "holder": "", "until": DateTime::from_millis(0) };
        match connection.run("making a lease", meta.insert_one(new)).await {
            Ok(_) => {}
            Err(StoreError::Conflict { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Lets the next one begin at once. If that fails, the lease ends by itself.
pub(super) async fn give_back(connection: &Connection, name: &str, me: Uuid) {
    if let Err(error) = end(connection, name, me).await {
        tracing::debug!(lease = name, error = error.full(), "a lease could not be given back");
    }
}

async fn end(connection: &Connection, name: &str, me: Uuid) -> Result<(), StoreError> {
    let meta = connection.collection(META).await?;
    let mine = doc! { "_id": format!("lease:{name}"), "holder": me.to_string() };
    let free = doc! { "$set": { "until": DateTime::from_millis(0) } };
    connection.run("giving a lease back", meta.update_one(mine, free)).await.map(|_| ())
}
