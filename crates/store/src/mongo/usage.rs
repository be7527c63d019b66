//! Asking for usage: roll-ups where they are up to date, the records themselves where they are not.

use mongodb::ClientSession;
use mongodb::bson::{Bson, doc};

use super::connection::Connection;
use super::hours::{self, count_records, tallies};
use super::roll_up::unfolded_hours;
use super::schema::HOURS;
use crate::usage::{Span, Tally, rows, step_hours};
use crate::{StoreError, UsageQuery, UsageRow};

const ATTEMPTS: usize = 20;

pub(super) async fn query(
    connection: &Connection,
    query: &UsageQuery,
    span: Span,
) -> Result<Vec<UsageRow>, StoreError> {
    let mut session = connection.session().await?;
    for _ in 0..ATTEMPTS {
        // First which hours are not up to date: what leaves this list later is in its roll-up by the time
        // that is read.
        let range = doc! { "$gte": span.first, "$lt": span.end };
        let fresh = unfolded_hours(connection, &mut session, range).await?;
        let Some(mut found) = from_records(connection, &mut session, &fresh).await? else { continue };
        found.extend(from_roll_ups(connection, &mut session, query, span, &fresh).await?);
        return rows(query, span, found);
    }
    Err(StoreError::unavailable("usage of an hour that is being purged cannot be read yet: ask again"))
}

async fn from_roll_ups(
    connection: &Connection,
    session: &mut ClientSession,
    query: &UsageQuery,
    span: Span,
    without: &[i64],
) -> Result<Vec<Tally>, StoreError> {
    let step = step_hours(query.interval);
    // The server sums up what would be summed here anyway; `_id` is the hour.
    let start =
        if step == 0 { Bson::Null } else { Bson::Document(doc! { "$floor": { "$divide": ["$_id", step] } }) };
    let group = doc! {
        "_id": { "step": start, "appId": "$rows.appId", "orgName": "$rows.orgName", "model": "$rows.model" },
        "hour": { "$max": "$_id" },
        "requests": { "$sum": "$rows.requests" },
        "errors": { "$sum": "$rows.errors" },
        "promptTokens": { "$sum": "$rows.promptTokens" },
        "completionTokens": { "$sum": "$rows.completionTokens" },
        "totalTokens": { "$sum": "$rows.totalTokens" },
    };
    let pipeline = vec![
        doc! { "$match": { "_id": { "$gte": span.first, "$lt": span.end, "$nin": without } } },
        doc! { "$unwind": "$rows" },
        doc! { "$group": group },
    ];
    let collection = connection.collection(HOURS).await?;
    tallies(connection, session, collection, pipeline).await
}

/// The usage of those hours from their records and what purged records had used; none if one of them was
/// written meanwhile, so that a record may have moved from here to there unseen.
async fn from_records(
    connection: &Connection,
    session: &mut ClientSession,
    fresh: &[i64],
) -> Result<Option<Vec<Tally>>, StoreError> {
    if fresh.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let before = hours::load(connection, session, fresh).await?;
    let purging: Vec<_> = before.values().flat_map(|hour| hour.purging.iter().copied()).collect();
    let mut found = count_records(connection, session, fresh, &purging).await?;
    let after = hours::load(connection, session, fresh).await?;
    let same = before.len() == after.len()
        && before
            .iter()
            .zip(&after)
            .all(|((a, before), (b, after))| a == b && before.version == after.version);
    if !same {
        return Ok(None);
    }
    for (hour, counted) in before {
        found.extend(counted.base.into_iter().map(|(group, counts)| Tally { hour, group, counts }));
    }
    Ok(Some(found))
}
