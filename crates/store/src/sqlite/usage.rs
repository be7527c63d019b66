//! Hourly usage in SQLite: counted in the transaction that inserts the records, so it is exact by itself.

use rusqlite::{Connection, Transaction, params};

use super::failed;
use crate::usage::{Counts, Group, Span, Tally, rows, step_hours};
use crate::{StoreError, UsageQuery, UsageRow};

pub(super) fn add<'a>(
    transaction: &Transaction<'_>,
    sums: impl IntoIterator<Item = ((i64, Group<&'a str>), Counts)>,
) -> Result<(), StoreError> {
    let mut statement = transaction
        .prepare_cached(
            "INSERT INTO usage_hours (hour, app_id, org_name, model, requests, errors, prompt_tokens,
                 completion_tokens, total_tokens)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (hour, ifnull(app_id, x''), ifnull(org_name, x''), ifnull(model, x'')) DO UPDATE SET
                 requests = requests + excluded.requests,
                 errors = errors + excluded.errors,
                 prompt_tokens = prompt_tokens + excluded.prompt_tokens,
                 completion_tokens = completion_tokens + excluded.completion_tokens,
                 total_tokens = total_tokens + excluded.total_tokens",
        )
        .map_err(failed)?;
    for ((hour, group), counts) in sums {
        statement
            .execute(params![
                hour,
                group.app_id,
                group.org_name,
                group.model,
                counts.requests,
                counts.errors,
                counts.prompt,
                counts.completion,
                counts.total,
            ])
            .map_err(failed)?;
    }
    Ok(())
}

pub(super) fn query(
    connection: &Connection,
    query: &UsageQuery,
    span: Span,
) -> Result<Vec<UsageRow>, StoreError> {
    // The steps are summed here; starts and names are settled where both stores do it. Hours before 1970, for
    // which this division would round the wrong way, are left as they are.
    let mut statement = connection
        .prepare_cached(
            "SELECT max(hour), app_id, org_name, model, sum(requests), sum(errors), sum(prompt_tokens),
                 sum(completion_tokens), sum(total_tokens)
             FROM usage_hours WHERE hour >= ?1 AND hour < ?2
             GROUP BY CASE WHEN ?3 = 0 THEN 0 WHEN hour < 0 THEN hour ELSE hour / max(?3, 1) END,
                 app_id, org_name, model",
        )
        .map_err(failed)?;
    let found = statement
        .query_map(params![span.first, span.end, step_hours(query.interval)], |row| {
            let group = Group { app_id: row.get(1)?, org_name: row.get(2)?, model: row.get(3)? };
            let counts = Counts {
                requests: row.get(4)?,
                errors: row.get(5)?,
                prompt: row.get(6)?,
                completion: row.get(7)?,
                total: row.get(8)?,
            };
            Ok(Tally { hour: row.get(0)?, group, counts })
        })
        .and_then(Iterator::collect)
        .map_err(failed)?;
    rows(query, span, found)
}
