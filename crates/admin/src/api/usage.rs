//! `/api/usage`: what was used, by app, model and time.

use jiff::Timestamp;
use salvo::oapi::endpoint;
use salvo::{Depot, Request};
use vllm_gateway_store::{Interval, StoreError, UsageQuery};

use super::logs::{span, too_wide};
use super::state;
use crate::answer::Answer;
use crate::model::{Usage, UsageItem};
use crate::problem::Problem;
use crate::query::{Query, not_among};

/// What can be asked.
pub(super) const KNOWN: [&str; 4] = ["from", "to", "groupBy", "interval"];

/// Sum up usage
///
/// In whole hours (UTC), of the last 7 days unless `from` says otherwise. Usage outlives records and apps.
#[endpoint(operation_id = "getUsage", tags("logs"),
    parameters(
        ("from" = Option<String>, Query, description = "From the hour of this time (RFC 3339 with an offset)"),
        ("to" = Option<String>, Query, description = "To the end of the hour of this time (default: now)"),
        ("groupBy" = Option<String>, Query, description = "`app`, `model` or `app,model`; without it all is one group"),
        ("interval" = Option<String>, Query, description = "`hour` (100 days at most) or `day`; without it the whole span is one"),
    ),
    responses((status_code = 200, description = "The sums", body = Usage)))]
pub(crate) async fn sum(req: &mut Request, depot: &mut Depot) -> Result<Answer, Problem> {
    let state = state(depot)?;
    let query = Query::of(req, &KNOWN)?;
    let (from, to) = span(&query)?;
    let to = to.unwrap_or_else(Timestamp::now);
    if from >= to {
        return Err(Problem::invalid("from", "`from` must lie before `to`, which is now unless it is given"));
    }
    let (group_by_app, group_by_model) = groups(&query)?;
    let interval = query.word("interval", &["hour", "day"], |word| match word {
        "hour" => Some(Interval::Hour),
        "day" => Some(Interval::Day),
        _ => None,
    })?;
    let wanted = UsageQuery { from, to, group_by_app, group_by_model, interval };
    let rows = state.store.usage(&wanted).await.map_err(|error| match error {
        // All that a store can find wrong here is a span that is too long.
        StoreError::Invalid { .. } => Problem::from(error).of_field("from"),
        other => too_wide(other),
    })?;
    let items = rows.into_iter().map(|row| UsageItem::of(row, group_by_app, group_by_model));
    Answer::json(&Usage { items: items.collect() })
}

/// Whether by app, and whether by model.
pub(super) fn groups(query: &Query<'_>) -> Result<(bool, bool), Problem> {
    let (mut app, mut model) = (false, false);
    for word in query.text("groupBy").into_iter().flat_map(|text| text.split(',')) {
        let group = match word.trim() {
            "app" => &mut app,
            "model" => &mut model,
            other => return Err(not_among("groupBy", other, &["app", "model", "app,model"])),
        };
        if std::mem::replace(group, true) {
            return Err(Problem::invalid("groupBy", format!("`groupBy` has `{}` twice", word.trim())));
        }
    }
    Ok((app, model))
}
