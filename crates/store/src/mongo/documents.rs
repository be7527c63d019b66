//! Documents: reading fields with an error that names them, and records in and out.

use jiff::Timestamp;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc, spec::BinarySubtype};
use uuid::Uuid;
use vllm_gateway_record::Record;

use crate::StoreError;
use crate::sqlite::records::{outcome_of, source_of};
use crate::times::{from_millis, millis};
use crate::usage::hour_of;

pub(super) fn uuid_value(id: Uuid) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes: id.into_bytes().to_vec() })
}

pub(super) fn time_value(time: Timestamp) -> Bson {
    Bson::DateTime(DateTime::from_millis(millis(time)))
}

pub(super) fn text(document: &Document, field: &str) -> Result<String, StoreError> {
    maybe_text(document, field)?.ok_or_else(|| broken(field))
}

pub(super) fn maybe_text(document: &Document, field: &str) -> Result<Option<String>, StoreError> {
    match document.get(field) {
        None | Some(Bson::Null) => Ok(None),
        Some(Bson::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(broken(field)),
    }
}

/// A whole number, whichever width the server chose for it.
pub(super) fn integer(document: &Document, field: &str) -> Result<i64, StoreError> {
    document.get(field).and_then(whole).ok_or_else(|| broken(field))
}

fn whole(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        _ => None,
    }
}

pub(super) fn maybe_time(document: &Document, field: &str) -> Result<Option<Timestamp>, StoreError> {
    match document.get(field) {
        None | Some(Bson::Null) => Ok(None),
        Some(Bson::DateTime(time)) => from_millis(time.timestamp_millis()).map(Some),
        Some(_) => Err(broken(field)),
    }
}

pub(super) fn time(document: &Document, field: &str) -> Result<Timestamp, StoreError> {
    maybe_time(document, field)?.ok_or_else(|| broken(field))
}

pub(super) fn uuid(value: Option<&Bson>, field: &str) -> Result<Uuid, StoreError> {
    match value {
        Some(Bson::Binary(binary)) => Uuid::from_slice(&binary.bytes).map_err(|_| broken(field)),
        _ => Err(broken(field)),
    }
}

pub(super) fn broken(field: &str) -> StoreError {
    StoreError::internal(format!(
        "the store holds a document whose field {field} is missing or of another type"
    ))
}

/// A record as it is inserted: not yet part of its hour's roll-up, which `unfolded` says (see `roll_up`).
pub(super) fn of_record(record: &Record) -> Document {
    let mut document = doc! {
        "_id": uuid_value(record.id),
        "requestId": &record.request_id,
        "time": time_value(record.time),
        "method": &record.method,
        "path": &record.path,
        "stream": record.stream,
        "status": i32::from(record.status),
        "outcome": record.outcome.as_str(),
        "tokenSource": record.token_source.as_str(),
        "durationMs": signed(record.duration_ms),
        "attempts": i64::from(record.attempts),
        "requestBytes": signed(record.request_bytes),
        "responseBytes": signed(record.response_bytes),
        "clientIp": &record.client_ip,
        "unfolded": hour_of(record),
    };
    for (field, text) in [
        ("appId", &record.app_id),
        ("orgName", &record.org_name),
        ("keyPrefix", &record.key_prefix),
        ("pipeline", &record.pipeline),
        ("model", &record.model),
        ("upstream", &record.upstream),
        ("endpoint", &record.endpoint),
        ("upstreamModel", &record.upstream_model),
        ("errorCode", &record.error_code),
        ("userAgent", &record.user_agent),
    ] {
        if let Some(text) = text {
            document.insert(field, text);
        }
    }
    for (field, number) in [
        ("promptTokens", record.prompt_tokens),
        ("completionTokens", record.completion_tokens),
        ("totalTokens", record.total_tokens),
        ("cachedTokens", record.cached_tokens),
        ("reasoningTokens", record.reasoning_tokens),
        ("ttftMs", record.ttft_ms),
    ] {
        if let Some(number) = number {
            document.insert(field, signed(number));
        }
    }
    document
}

// Records that do not fit have been refused by `check::record`.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn record_of(document: &Document) -> Result<Record, StoreError> {
    let maybe = |field: &str| match document.get(field) {
        None | Some(Bson::Null) => Ok(None),
        Some(value) => {
            whole(value).and_then(|number| u64::try_from(number).ok()).map(Some).ok_or_else(|| broken(field))
        }
    };
    let number = |field: &str| maybe(field)?.ok_or_else(|| broken(field));
    Ok(Record {
        id: uuid(document.get("_id"), "_id")?,
        request_id: text(document, "requestId")?,
        time: time(document, "time")?,
        app_id: maybe_text(document, "appId")?,
        org_name: maybe_text(document, "orgName")?,
        key_prefix: maybe_text(document, "keyPrefix")?,
        method: text(document, "method")?,
        path: text(document, "path")?,
        pipeline: maybe_text(document, "pipeline")?,
        model: maybe_text(document, "model")?,
        upstream: maybe_text(document, "upstream")?,
        endpoint: maybe_text(document, "endpoint")?,
        upstream_model: maybe_text(document, "upstreamModel")?,
        stream: document.get_bool("stream").map_err(|_| broken("stream"))?,
        status: u16::try_from(number("status")?).map_err(|_| broken("status"))?,
        outcome: outcome_of(&text(document, "outcome")?)?,
        error_code: maybe_text(document, "errorCode")?,
        prompt_tokens: maybe("promptTokens")?,
        completion_tokens: maybe("completionTokens")?,
        total_tokens: maybe("totalTokens")?,
        cached_tokens: maybe("cachedTokens")?,
        reasoning_tokens: maybe("reasoningTokens")?,
        token_source: source_of(&text(document, "tokenSource")?)?,
        duration_ms: number("durationMs")?,
        ttft_ms: maybe("ttftMs")?,
        attempts: u32::try_from(number("attempts")?).map_err(|_| broken("attempts"))?,
        request_bytes: number("requestBytes")?,
        response_bytes: number("responseBytes")?,
        client_ip: text(document, "clientIp")?,
        user_agent: maybe_text(document, "userAgent")?,
    })
}
