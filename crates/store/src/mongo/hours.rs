//! The document that holds the usage of one hour, and the sums of records that go into it.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use mongodb::bson::{Bson, DateTime, Document, doc};
use uuid::Uuid;

use super::connection::{Connection, LONGEST_READ};
use super::documents::{broken, integer, maybe_text, uuid, uuid_value};
use super::schema::{HOURS, RECORDS};
use crate::StoreError;
use crate::times::MILLIS_PER_HOUR;
use crate::usage::{Counts, Group, SOUND, Tally};

/// An hour keeps its largest groups apart, and the others of an app under no model: whoever sends invented
/// model names shall not grow the document to its limit of 16 MiB. Sums stay exact.
const MAX_GROUPS: usize = 10_000;

pub(super) type Sums = BTreeMap<Group, Counts>;

/// One hour, as it was at that version.
#[derive(Clone, Debug, Default)]
pub(super) struct Hour {
    /// Grows with every write; a write is made only upon the version it was thought out for.
    pub(super) version: i64,
    /// What purged records had used; part of the rows.
    pub(super) base: Sums,
    /// Records that are counted in the base and are about to be removed.
    pub(super) purging: Vec<Uuid>,
}

/// The hours of those numbers, without their rows.
pub(super) async fn load(
    connection: &Connection,
    session: &mut ClientSession,
    hours: &[i64],
) -> Result<BTreeMap<i64, Hour>, StoreError> {
    let collection = connection.collection(HOURS).await?;
    let documents: Vec<Document> = connection
        .run("reading hours of usage", async {
            let find = collection.find(doc! { "_id": { "$in": hours } }).projection(doc! { "rows": 0 });
            find.max_time(LONGEST_READ).session(&mut *session).await?.stream(session).try_collect().await
        })
        .await?;
    documents.iter().map(|document| Ok((integer(document, "_id")?, hour_of(document)?))).collect()
}

fn hour_of(document: &Document) -> Result<Hour, StoreError> {
    let base = document.get_array("base").map_err(|_| broken("base"))?;
    let purging = document.get_array("purging").map_err(|_| broken("purging"))?;
    Ok(Hour {
        version: integer(document, "version")?,
        base: base
            .iter()
            .map(|row| {
                row.as_document()
                    .ok_or_else(|| broken("base"))
                    .and_then(|row| Ok((group_of(row)?, counts_of(row)?)))
            })
            .collect::<Result<_, _>>()?,
        purging: purging.iter().map(|id| uuid(Some(id), "purging")).collect::<Result<_, _>>()?,
    })
}

/// Writes an hour upon that version, or makes it when there was none; whether nobody else was faster.
pub(super) async fn write(
    connection: &Connection,
    session: &mut ClientSession,
    hour: i64,
    upon: Option<i64>,
    mut fields: Document,
) -> Result<bool, StoreError> {
    let collection = connection.collection(HOURS).await?;
    let Some(version) = upon else {
        let mut document = doc! { "_id": hour, "version": 1_i64, "base": [], "purging": [] };
        document.extend(fields);
        let insert = collection.insert_one(document).session(session);
        return match connection.run("making an hour of usage", insert).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        };
    };
    fields.insert("version", version + 1);
    let update = collection.update_one(doc! { "_id": hour, "version": version }, doc! { "$set": fields });
    Ok(connection.run("writing an hour of usage", update.session(session)).await?.matched_count == 1)
}

/// What the records in those hours have used, without those that are being purged.
pub(super) async fn count_records(
    connection: &Connection,
    session: &mut ClientSession,
    hours: &[i64],
    without: &[Uuid],
) -> Result<Vec<Tally>, StoreError> {
    let ranges: Vec<Document> = runs(hours)
        .into_iter()
        .map(|(first, end)| doc! { "time": { "$gte": start_of(first), "$lt": start_of(end) } })
        .collect();
    let mut matching = doc! { "$or": ranges };
    if !without.is_empty() {
        matching.insert("_id", doc! { "$nin": without.iter().copied().map(uuid_value).collect::<Vec<_>>() });
    }
    let sound: Vec<&str> = SOUND.iter().map(|outcome| outcome.as_str()).collect();
    let failed = doc! { "$or": [
        { "$gte": ["$status", 400] },
        { "$not": [{ "$in": ["$outcome", sound] }] },
    ] };
    let hour = doc! { "$floor": { "$divide": [{ "$toLong": "$time" }, MILLIS_PER_HOUR] } };
    // As `Counts::of` counts a record.
    let or_none = |field: &str| doc! { "$ifNull": [field, 0_i64] };
    let parts = doc! { "$add": [or_none("$promptTokens"), or_none("$completionTokens")] };
    let group = doc! {
        "_id": { "hour": { "$toLong": hour }, "appId": "$appId", "orgName": "$orgName", "model": "$model" },
        "requests": { "$sum": 1_i64 },
        "errors": { "$sum": { "$cond": [failed, 1_i64, 0_i64] } },
        "promptTokens": { "$sum": "$promptTokens" },
        "completionTokens": { "$sum": "$completionTokens" },
        "totalTokens": { "$sum": { "$ifNull": ["$totalTokens", parts] } },
    };
    let records = connection.collection(RECORDS).await?;
    tallies(connection, session, records, vec![doc! { "$match": matching }, doc! { "$group": group }]).await
}

/// Runs a pipeline whose documents have the group as `_id`, with its hour, and the sums beside it.
pub(super) async fn tallies(
    connection: &Connection,
    session: &mut ClientSession,
    collection: mongodb::Collection<Document>,
    pipeline: Vec<Document>,
) -> Result<Vec<Tally>, StoreError> {
    let documents: Vec<Document> = connection
        .run("counting usage", async {
            let aggregate = collection.aggregate(pipeline).max_time(LONGEST_READ).session(&mut *session);
            aggregate.await?.stream(session).try_collect().await
        })
        .await?;
    documents
        .iter()
        .map(|document| {
            let group = document.get_document("_id").map_err(|_| broken("_id"))?;
            let hour = if document.contains_key("hour") { document } else { group };
            Ok(Tally { hour: integer(hour, "hour")?, group: group_of(group)?, counts: counts_of(document)? })
        })
        .collect()
}

/// Sums as rows of a document.
pub(super) fn rows_of(sums: &Sums) -> Vec<Document> {
    if sums.len() <= MAX_GROUPS {
        return sums.iter().map(row_of).collect();
    }
    let mut largest: Vec<_> = sums.iter().collect();
    largest.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.requests));
    let mut kept = Sums::new();
    for (place, (group, counts)) in largest.into_iter().enumerate() {
        let model = group.model.clone().filter(|_| place < MAX_GROUPS);
        kept.entry(Group { model, ..group.clone() }).or_default().add(*counts);
    }
    kept.iter().map(row_of).collect()
}

fn row_of((group, counts): (&Group, &Counts)) -> Document {
    let mut row = doc! {
        "requests": counts.requests,
        "errors": counts.errors,
        "promptTokens": counts.prompt,
        "completionTokens": counts.completion,
        "totalTokens": counts.total,
    };
    for (field, text) in [("appId", &group.app_id), ("orgName", &group.org_name), ("model", &group.model)] {
        if let Some(text) = text {
            row.insert(field, text);
        }
    }
    row
}

fn group_of(row: &Document) -> Result<Group, StoreError> {
    Ok(Group {
        app_id: maybe_text(row, "appId")?,
        org_name: maybe_text(row, "orgName")?,
        model: maybe_text(row, "model")?,
    })
}

fn counts_of(row: &Document) -> Result<Counts, StoreError> {
    Ok(Counts {
        requests: integer(row, "requests")?,
        errors: integer(row, "errors")?,
        prompt: integer(row, "promptTokens")?,
        completion: integer(row, "completionTokens")?,
        total: integer(row, "totalTokens")?,
    })
}

pub(super) fn start_of(hour: i64) -> Bson {
    Bson::DateTime(DateTime::from_millis(hour.saturating_mul(MILLIS_PER_HOUR)))
}

/// Sorted hours as runs of neighbours: first and behind the last.
fn runs(hours: &[i64]) -> Vec<(i64, i64)> {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for &hour in hours {
        match runs.last_mut() {
            Some((_, end)) if *end == hour => *end = hour + 1,
            _ => runs.push((hour, hour + 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn neighbouring_hours_are_one_range() {
        assert_eq!(runs(&[-1, 0, 1, 5, 7, 8]), [(-1, 2), (5, 6), (7, 9)]);
        assert!(runs(&[]).is_empty());
    }

    #[test]
    fn invented_model_names_do_not_grow_an_hour_without_bound_and_nothing_is_lost() {
        let counts = |requests| Counts { requests, total: 3, ..Counts::default() };
        let group = |app: &str, model: usize| Group {
            app_id: Some(app.into()),
            org_name: Some(app.into()),
            model: Some(format!("model-{model}")),
        };
        let mut sums: Sums = (0..MAX_GROUPS + 500).map(|model| (group("noisy", model), counts(1))).collect();
        sums.insert(group("quiet", 0), counts(9));
        let rows = rows_of(&sums);
        assert!(rows.len() <= MAX_GROUPS + 2, "{}", rows.len());
        let read: Vec<_> = rows.iter().map(|row| (group_of(row).unwrap(), counts_of(row).unwrap())).collect();
        assert_eq!(
            read.iter().map(|(_, counts)| counts.requests).sum::<i64>(),
            i64::try_from(MAX_GROUPS).unwrap() + 509
        );
        assert!(read.contains(&(group("quiet", 0), counts(9))));
    }
}
