//! `/api/logs`: the access log.

use jiff::{SignedDuration, Timestamp};
use salvo::oapi::endpoint;
use salvo::{Depot, Request};
use vllm_gateway_store::{LogQuery, Outcome, StoreError};

use super::state;
use crate::answer::Answer;
use crate::model::Logs;
use crate::problem::Problem;
use crate::query::Query;

/// What a question without `from` covers.
const SPAN: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What can be asked.
pub(super) const KNOWN: [&str; 10] =
    ["pageNum", "pageSize", "appId", "model", "outcome", "status", "from", "to", "requestId", "cursor"];

/// List access-log records
///
/// Newest first, of the last 7 days unless `from` says otherwise. A question that takes longer than some seconds is
/// stopped: bring `from` and `to` closer together. With `cursor` (empty at first) it is an export:
/// take `nextCursor` of each answer for the next call, until it is `null`.
#[endpoint(operation_id = "listLogs", tags("logs"),
    parameters(
        ("pageNum" = Option<u64>, Query, description = "The number of the page, from 1 (default 1); not with `cursor`", minimum = 1),
        ("pageSize" = Option<u32>, Query, description = "Items on a page (default 20)", minimum = 1, maximum = 200),
        ("appId" = Option<String>, Query, description = "Of this app"),
        ("model" = Option<String>, Query, description = "That asked for this model"),
        ("outcome" = Option<String>, Query, description = "That ended so: `finished`, `replied`, `upstream_error`, `upstream_broke`, `timeout`, `client_gone`, `gateway_error` or `interrupted`"),
        ("status" = Option<u16>, Query, description = "Answered with this status", minimum = 100, maximum = 599),
        ("from" = Option<String>, Query, description = "At or after this time (RFC 3339 with an offset)"),
        ("to" = Option<String>, Query, description = "Before this time (RFC 3339 with an offset)"),
        ("requestId" = Option<String>, Query, description = "With this `x-request-id`"),
        ("cursor" = Option<String>, Query, description = "For an export: empty at first, then `nextCursor`"),
    ),
    responses((status_code = 200, description = "A page of records, or a part of an export", body = Logs)))]
pub(crate) async fn list(req: &mut Request, depot: &mut Depot) -> Result<Answer, Problem> {
    let state = state(depot)?;
    let query = Query::of(req, &KNOWN)?;
    let page_size = query.page_size()?;
    let wanted = wanted(&query)?;
    if let Some(cursor) = query.raw("cursor") {
        if query.text("pageNum").is_some() {
            return Err(Problem::invalid(
                "pageNum",
                "`pageNum` and `cursor` do not go together: an export has no pages",
            ));
        }
        let cursor = Some(cursor).filter(|cursor| !cursor.is_empty());
        let part = state.store.export(&wanted, cursor, page_size).await;
        let (items, next_cursor) = part.map_err(|error| match error {
            StoreError::Invalid { .. } => Problem::from(error).of_field("cursor"),
            other => too_wide(other),
        })?;
        return Answer::json(&Logs::Part { items, next_cursor });
    }
    let page = state.store.page(&wanted, query.page_num()?, page_size).await.map_err(too_wide)?;
    let (page_num, page_size, total) = (page.page_num, page.page_size, page.total);
    Answer::json(&Logs::Page { items: page.items, page_num, page_size, total })
}

/// Which records are asked for.
pub(super) fn wanted(query: &Query<'_>) -> Result<LogQuery, Problem> {
    let text = |name| query.text(name).map(str::to_owned);
    let (from, to) = span(query)?;
    Ok(LogQuery {
        app_id: text("appId"),
        model: text("model"),
        outcome: query.word("outcome", &Outcome::ALL.map(Outcome::as_str), Outcome::from_name)?,
        status: query.number("status", 100, 599)?.and_then(|status| u16::try_from(status).ok()),
        from: Some(from),
        to,
        request_id: text("requestId"),
    })
}

/// The time asked for: `from` is 7 days before `to`, or before now.
pub(super) fn span(query: &Query<'_>) -> Result<(Timestamp, Option<Timestamp>), Problem> {
    let (from, to) = (query.time("from")?, query.time("to")?);
    let end = to.unwrap_or_else(Timestamp::now);
    let from = from.unwrap_or_else(|| end.checked_sub(SPAN).unwrap_or(Timestamp::MIN));
    if to.is_some_and(|to| from >= to) {
        return Err(Problem::invalid("from", "`from` must lie before `to`"));
    }
    Ok((from, to))
}

/// The error of a question about a span of time: one that covers too much is the fault of `from`.
pub(super) fn too_wide(error: StoreError) -> Problem {
    let is_slow = matches!(error, StoreError::TooSlow { .. });
    let problem = Problem::from(error);
    if is_slow { problem.of_field("from") } else { problem }
}
