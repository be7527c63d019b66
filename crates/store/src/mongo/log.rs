//! Access-log records in MongoDB: appending, pages and export.

use std::ops::Range;

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::error::{ErrorKind, InsertManyError};
use vllm_gateway_record::Record;

use super::connection::{Connection, LONGEST_READ, is_duplicate, is_transient};
use super::documents::{of_record, record_of, uuid_value};
use super::schema::RECORDS;
use crate::cursor::{self, Place};
use crate::times::{millis, millis_up};
use crate::{Appended, LogQuery, Page, Rejected, StoreError, check};

/// What one command carries at most.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// More than the names and numbers of a record take; its texts come on top.
const RECORD_BYTES: usize = 1_024;

pub(super) async fn append(connection: &Connection, records: &[Record]) -> Result<Appended, StoreError> {
    let mut appended = Appended::default();
    let mut sound = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        match check::record(record) {
            Ok(()) => sound.push((index, record)),
            Err(reason) => appended.rejected.push(Rejected { index, reason }),
        }
    }
    for range in batches(&sound) {
        let batch = sound.get(range).unwrap_or_default();
        let refused = insert(connection, batch).await?;
        appended.stored += batch.len() - refused.len();
        appended.rejected.extend(refused);
    }
    appended.rejected.sort_by_key(|rejected| rejected.index);
    Ok(appended)
}

fn batches(records: &[(usize, &Record)]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, (_, record)) in records.iter().enumerate() {
        let size = RECORD_BYTES + check::text_length(record);
        if at - start == BATCH || bytes + size > BATCH_BYTES {
            ranges.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += size;
    }
    if start < records.len() {
        ranges.push(start..records.len());
    }
    ranges
}

/// Inserts one batch and says which of its records cannot be stored.
async fn insert(connection: &Connection, batch: &[(usize, &Record)]) -> Result<Vec<Rejected>, StoreError> {
    let documents: Vec<Document> = batch.iter().map(|(_, record)| of_record(record)).collect();
    let collection = connection.collection(RECORDS).await?;
    let Err(error) = connection.raw(collection.insert_many(&documents).ordered(false)).await? else {
        return Ok(Vec::new());
    };
    let failed = || connection.failed("storing records", &error);
    // What could not be made durable, or came together with a break, may be lost again: all of it is shipped
    // again.
    let ErrorKind::InsertMany(InsertManyError {
        write_errors: Some(errors), write_concern_error: None, ..
    }) = error.kind.as_ref()
    else {
        return Err(unavailable_if_broken_off(&error, failed()));
    };
    let mut rejected = Vec::new();
    for one in errors.iter().filter(|one| !is_duplicate(one.code)) {
        let Some((index, _)) = batch.get(one.index).filter(|_| !is_transient(one.code)) else {
            return Err(StoreError::unavailable("MongoDB cannot store records now").because(failed().full()));
        };
        rejected.push(Rejected {
            index: *index,
            reason: format!("MongoDB refused it: {} ({})", one.message, one.code),
        });
    }
    Ok(rejected)
}

fn unavailable_if_broken_off(error: &mongodb::error::Error, sorted: StoreError) -> StoreError {
    match error.kind.as_ref() {
        ErrorKind::InsertMany(_) => {
            StoreError::unavailable("MongoDB could not make records durable").because(sorted.full())
        }
        _ => sorted,
    }
}

pub(super) async fn page(
    connection: &Connection,
    query: &LogQuery,
    page_num: u64,
    page_size: u32,
) -> Result<Page<Record>, StoreError> {
    let offset = crate::page::items_before(page_num, page_size)?;
    let filter = filter(query);
    let records = connection.collection(RECORDS).await?;
    let count = records.count_documents(filter.clone()).max_time(LONGEST_READ);
    let total = connection.run("counting records", count).await?;
    // A page behind the end needs no search for it.
    let items = if offset.unsigned_abs() < total {
        select(connection, filter, i64::from(page_size), offset.unsigned_abs()).await?
    } else {
        Vec::new()
    };
    Ok(Page { items, page_num, page_size, total })
}

pub(super) async fn export(
    connection: &Connection,
    query: &LogQuery,
    after: Option<Place>,
    limit: u32,
) -> Result<(Vec<Record>, Option<String>), StoreError> {
    let mut filter = filter(query);
    if let Some(place) = after {
        let (time, id) = (Bson::DateTime(DateTime::from_millis(place.time)), uuid_value(place.id));
        let earlier = doc! { "time": { "$lt": time.clone() } };
        // The bound in front lets the index start at the place; the rest sorts out its own millisecond.
        filter.insert(
            "$and",
            vec![
                doc! { "time": { "$lte": time.clone() } },
                doc! { "$or": [earlier, doc! { "time": time, "_id": { "$lt": id } }] },
            ],
        );
    }
    // One more than asked for tells whether there is more.
    let mut items = select(connection, filter, i64::from(limit) + 1, 0).await?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items
        .last()
        .filter(|_| more)
        .map(|last| cursor::encode(Place { time: millis(last.time), id: last.id }));
    Ok((items, next))
}

async fn select(
    connection: &Connection,
    filter: Document,
    limit: i64,
    skip: u64,
) -> Result<Vec<Record>, StoreError> {
    let records = connection.collection(RECORDS).await?;
    let find = records
        .find(filter)
        .sort(doc! { "time": -1, "_id": -1 })
        .skip(skip)
        .limit(limit)
        .max_time(LONGEST_READ);
    let documents: Vec<Document> =
        connection.run("reading records", async { find.await?.try_collect().await }).await?;
    documents.iter().map(record_of).collect()
}

fn filter(query: &LogQuery) -> Document {
    let LogQuery { app_id, model, outcome, status, from, to, request_id } = query;
    let mut filter = doc! { "time": time_range(*from, *to) };
    for (field, text) in [("appId", app_id), ("model", model), ("requestId", request_id)] {
        if let Some(text) = text {
            filter.insert(field, text);
        }
    }
    if let Some(outcome) = outcome {
        filter.insert("outcome", outcome.as_str());
    }
    if let Some(status) = status {
        filter.insert("status", i32::from(*status));
    }
    filter
}

/// Always a range of datetimes, which what is left of purged records does not lie in.
fn time_range(from: Option<Timestamp>, to: Option<Timestamp>) -> Document {
    let bound = |millis: i64| Bson::DateTime(DateTime::from_millis(millis));
    let mut range = doc! { "$gte": bound(from.map_or(i64::MIN, millis)) };
    if let Some(to) = to {
        range.insert("$lt", bound(millis_up(to)));
    }
    range
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use uuid::Uuid;

    fn record(text: usize) -> Record {
        let json = format!(
            r#"{{"id":"{}","requestId":"{}","time":"2026-01-01T00:00:00Z","method":"POST","path":"/v1/completions",
                "stream":false,"status":200,"outcome":"finished","tokenSource":"usage","durationMs":1,"attempts":1,
                "requestBytes":1,"responseBytes":1,"clientIp":"127.0.0.1"}}"#,
            Uuid::from_u128(1),
            "x".repeat(text)
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn batches_hold_500_records_and_4_mib_at_most() {
        let (small, large) = (record(1), record(60_000));
        let lengths = |records: Vec<&Record>| -> Vec<usize> {
            let numbered: Vec<_> = records.into_iter().enumerate().collect();
            batches(&numbered).into_iter().map(|range| range.len()).collect()
        };
        assert_eq!(lengths(vec![&small; 1_001]), [500, 500, 1]);
        assert_eq!(lengths(vec![&large; 100]), [68, 32]);
        assert!(lengths(Vec::new()).is_empty());
    }

    #[test]
    fn a_document_is_never_larger_than_its_estimate() {
        let mut full = record(0);
        for text in
            [&mut full.app_id, &mut full.org_name, &mut full.key_prefix, &mut full.pipeline, &mut full.model]
        {
            *text = Some(String::new());
        }
        for text in [&mut full.upstream, &mut full.endpoint, &mut full.upstream_model, &mut full.error_code] {
            *text = Some(String::new());
        }
        full.user_agent = Some(String::new());
        full.prompt_tokens = Some(1);
        full.completion_tokens = Some(1);
        full.total_tokens = Some(1);
        full.cached_tokens = Some(1);
        full.reasoning_tokens = Some(1);
        full.ttft_ms = Some(1);
        let size = mongodb::bson::serialize_to_vec(&of_record(&full)).unwrap().len();
        assert!(size <= RECORD_BYTES + check::text_length(&full), "{size}");
    }
}
