//! Hears of changes at once, where the server has change streams: a replica set or a sharded cluster.
//!
//! The stream only wakes the reader of `feed`, it carries nothing: what is true is always read there, in the order
//! that is kept there. So no resume token is kept, a stream that breaks is opened anew, and what it missed meanwhile
//! the next poll finds.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::error::{Error, ErrorKind};

use super::connection::Connection;
use super::schema::APPS;
use crate::StoreError;

/// How long the server waits for news before it answers with none; well within the deadline of an operation, so that
/// a server that hangs is told from one where nothing happens.
const PATIENCE: Duration = Duration::from_secs(2);

/// Not supported, by a standalone server or by a service that speaks only a part of the protocol.
const UNSUPPORTED: [i32; 4] = [115, 303, 40_324, 40_573];

pub(super) async fn apps(
    connection: &Connection,
    changed: &(dyn Fn() + Send + Sync),
) -> Result<(), StoreError> {
    let apps = connection.collection(APPS).await?;
    let opening = apps.watch().pipeline(pipeline()).max_await_time(PATIENCE);
    let mut stream = match connection.raw(opening).await? {
        Ok(stream) => stream.with_type::<Document>(),
        Err(error) if is_unsupported(&error) => return Ok(()),
        Err(error) => return Err(connection.failed("listening for changes of apps", &error)),
    };
    // What was committed before the stream was there is not in it.
    changed();
    while stream.is_alive() {
        // On the heap: the driver's future is large, and most of the time it is only waited for.
        let next = Box::pin(stream.next_if_any());
        if connection.run("listening for changes of apps", next).await?.is_some() {
            changed();
        }
    }
    Err(StoreError::unavailable("MongoDB ended the stream of changes"))
}

/// Only changes that `feed` tells: the mark that comes with each, not its removal, and no times of use.
fn pipeline() -> [Document; 2] {
    [
        doc! { "$match": { "$or": [
            { "operationType": { "$ne": "update" } },
            { "updateDescription.updatedFields.pending": { "$exists": true } },
        ] } },
        // The driver needs these three; the apps themselves, with their digests, are not sent.
        doc! { "$project": { "_id": 1, "operationType": 1, "ns": 1 } },
    ]
}

fn is_unsupported(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(error) if UNSUPPORTED.contains(&error.code))
}
