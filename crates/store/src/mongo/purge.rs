//! Retention in MongoDB: how a record goes without its usage going; why that is exact is written in
//! [`super`].

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use mongodb::ClientSession;
use mongodb::bson::{Bson, DateTime, Document, doc};
use uuid::Uuid;

use super::connection::{Connection, LONGEST_READ};
use super::documents::{time, uuid, uuid_value};
use super::hours::{self, Hour, rows_of, start_of};
use super::lease;
use super::roll_up::{Fold, fold};
use super::schema::RECORDS;
use crate::StoreError;
use crate::times::{MILLIS_PER_HOUR, millis};
use crate::usage::{Counts, Group, Tally, is_error};

/// How many records one step removes.
const SLICE: u64 = 1_000;
/// How often in a row a step may come to nothing because others work on the same hour.
const ATTEMPTS: usize = 20;

pub(super) async fn purge(
    connection: &Connection,
    me: Uuid,
    before: Timestamp,
    max: u64,
) -> Result<u64, StoreError> {
    if !lease::take(connection, "purge", me).await? {
        return Ok(0);
    }
    let removed = slices(connection, millis(before), max).await;
    lease::give_back(connection, "purge", me).await;
    removed
}

async fn slices(connection: &Connection, before: i64, max: u64) -> Result<u64, StoreError> {
    let mut session = connection.session().await?;
    let (mut removed, mut in_vain) = (0, 0);
    while removed < max {
        let Some(hour) = oldest_hour(connection, &mut session, before).await? else { break };
        match slice(connection, &mut session, hour, before, SLICE.min(max - removed)).await? {
            0 if in_vain == ATTEMPTS => {
                return Err(StoreError::unavailable(
                    "others work on the hour that is to be purged: try again",
                ));
            }
            0 => in_vain += 1,
            some => {
                removed += some;
                in_vain = 0;
            }
        }
    }
    Ok(removed)
}

async fn oldest_hour(
    connection: &Connection,
    session: &mut ClientSession,
    before: i64,
) -> Result<Option<i64>, StoreError> {
    let records = connection.collection(RECORDS).await?;
    let range = doc! { "$gte": DateTime::from_millis(i64::MIN), "$lt": DateTime::from_millis(before) };
    let find = records
        .find_one(doc! { "time": range })
        .sort(doc! { "time": 1, "_id": 1 })
        .projection(doc! { "time": 1 });
    let oldest =
        connection.run("looking for old records", find.max_time(LONGEST_READ).session(session)).await?;
    oldest.map(|oldest| Ok(millis(time(&oldest, "time")?).div_euclid(MILLIS_PER_HOUR))).transpose()
}

/// One step on one hour; how many records it removed.
async fn slice(
    connection: &Connection,
    session: &mut ClientSession,
    hour: i64,
    before: i64,
    max: u64,
) -> Result<u64, StoreError> {
    let Some(found) = hours::load(connection, session, &[hour]).await?.remove(&hour) else {
        fold(connection, session, hour, Fold::Anyway).await?;
        return Ok(0);
    };
    // Somebody began and did not finish.
    if !found.purging.is_empty() {
        return remove(connection, session, hour, found.version, &found.purging).await;
    }
    let chosen = choose(connection, session, hour, before, max).await?;
    if chosen.is_empty() {
        // All that is old enough has yet to become part of the roll-up.
        fold(connection, session, hour, Fold::IfNeeded).await?;
        return Ok(0);
    }
    let Hour { version, mut base, .. } = found;
    let mut ids = Vec::with_capacity(chosen.len());
    for (id, tally) in chosen {
        base.entry(tally.group).or_default().add(tally.counts);
        ids.push(id);
    }
    let fields = doc! {
        "base": rows_of(&base),
        "purging": ids.iter().copied().map(uuid_value).collect::<Vec<_>>(),
    };
    // From here on these records count as base and no longer as records, whoever looks and whatever happens
    // to us.
    if !hours::write(connection, session, hour, Some(version), fields).await? {
        return Ok(0);
    }
    remove(connection, session, hour, version + 1, &ids).await
}

/// Records of the hour that are part of its roll-up, oldest first, with what they have used.
async fn choose(
    connection: &Connection,
    session: &mut ClientSession,
    hour: i64,
    before: i64,
    max: u64,
) -> Result<Vec<(Uuid, Tally)>, StoreError> {
    let end = (hour + 1).saturating_mul(MILLIS_PER_HOUR).min(before);
    let filter = doc! {
        "time": { "$gte": start_of(hour), "$lt": DateTime::from_millis(end) },
        "unfolded": { "$exists": false },
    };
    let records = connection.collection(RECORDS).await?;
    let documents: Vec<Document> = connection
        .run("choosing old records", async {
            let find = records
                .find(filter)
                .sort(doc! { "time": 1, "_id": 1 })
                .limit(i64::try_from(max).unwrap_or(i64::MAX));
            find.max_time(LONGEST_READ).session(&mut *session).await?.stream(session).try_collect().await
        })
        .await?;
    documents
        .iter()
        .map(|document| Ok((uuid(document.get("_id"), "_id")?, tally_of(hour, document)?)))
        .collect()
}

// Read from the bare fields as the server's own sums do, so that a record of a newer version does not stop
// retention.
fn tally_of(hour: i64, document: &Document) -> Result<Tally, StoreError> {
    use super::documents::{integer, maybe_text, text};
    let tokens = |field: &str| if document.contains_key(field) { integer(document, field) } else { Ok(0) };
    let (prompt, completion) = (tokens("promptTokens")?, tokens("completionTokens")?);
    let has_total = !matches!(document.get("totalTokens"), None | Some(Bson::Null));
    let total = if has_total { tokens("totalTokens")? } else { prompt.saturating_add(completion) };
    let status = u16::try_from(integer(document, "status")?).unwrap_or(u16::MAX);
    let outcome = vllm_gateway_record::Outcome::from_name(&text(document, "outcome")?);
    Ok(Tally {
        hour,
        group: Group {
            app_id: maybe_text(document, "appId")?,
            org_name: maybe_text(document, "orgName")?,
            model: maybe_text(document, "model")?,
        },
        counts: Counts {
            requests: 1,
            errors: i64::from(outcome.is_none_or(|outcome| is_error(status, outcome))),
            prompt,
            completion,
            total,
        },
    })
}

/// Leaves nothing of the records but their ids, then says in the hour that it is done.
async fn remove(
    connection: &Connection,
    session: &mut ClientSession,
    hour: i64,
    version: i64,
    ids: &[Uuid],
) -> Result<u64, StoreError> {
    let records = connection.collection(RECORDS).await?;
    let ids: Vec<Bson> = ids.iter().copied().map(uuid_value).collect();
    let bare = vec![doc! { "$replaceWith": { "_id": "$_id", "purgedAt": "$$NOW" } }];
    let update = records.update_many(doc! { "_id": { "$in": ids }, "time": { "$exists": true } }, bare);
    let removed = connection.run("removing old records", update.session(&mut *session)).await?.modified_count;
    // If another was faster, it has done the same.
    hours::write(connection, session, hour, Some(version), doc! { "purging": [] }).await?;
    Ok(removed)
}
