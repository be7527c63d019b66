//! Reads a request's body: bounded in size and in time, JSON only.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use salvo::Request;
use salvo::http::StatusCode;
use salvo::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use tokio::time::timeout;

use crate::fields::Fields;
use crate::problem::Problem;

/// The largest body that is taken.
pub(crate) const LIMIT: usize = 64 * 1024;
const DEADLINE: Duration = Duration::from_secs(10);

/// The members of the JSON object that was sent.
pub(crate) async fn fields(req: &mut Request) -> Result<Fields, Problem> {
    let bytes = read(req).await?;
    if bytes.is_empty() {
        return Err(Problem::invalid("body", "the body is missing: send a JSON object"));
    }
    is_json(req)?;
    Fields::parse(&bytes)
}

/// The same; no body stands for an empty object.
pub(crate) async fn optional_fields(req: &mut Request) -> Result<Fields, Problem> {
    let bytes = read(req).await?;
    if bytes.is_empty() {
        return Ok(Fields::default());
    }
    is_json(req)?;
    Fields::parse(&bytes)
}

fn is_json(req: &Request) -> Result<(), Problem> {
    let mut types = req.headers().get_all(CONTENT_TYPE).iter();
    let sent = types.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = sent.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") && types.next().is_none() {
        Ok(())
    } else {
        Err(Problem::unsupported(&CONTENT_TYPE, "the body must be sent as `content-type: application/json`"))
    }
}

async fn read(req: &mut Request) -> Result<Bytes, Problem> {
    let announced =
        req.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > LIMIT as u64) {
        return Err(Problem::too_large(LIMIT));
    }
    let body = Limited::new(req.take_body(), LIMIT);
    match timeout(DEADLINE, body.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(LIMIT)),
        Ok(Err(_)) => Err(Problem::new(StatusCode::BAD_REQUEST, "the body could not be read to its end")),
        Err(_elapsed) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}
