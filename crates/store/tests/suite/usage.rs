//! Usage: what it says must be what the records say.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use vllm_gateway_store::{Interval, Outcome, Record, Store, StoreError, UsageQuery, UsageRow};

use super::fixture::{Fixture, app, bare_record, millis, record, sums, time, usage, usage_query};

const HOUR: i64 = 3_600_000;

/// Records over two days, of all kinds.
pub fn records() -> Vec<Record> {
    let start = time("2026-03-01T20:00:00Z");
    let apps = [("app-a", "Acme"), ("app-b", "Bolt")];
    (0..300)
        .map(|number: i64| {
            let (app, name) = apps[usize::try_from(number % 2).unwrap()];
            let base = if number % 7 == 0 {
                bare_record("2026-03-01T00:00:00Z")
            } else {
                record("2026-03-01T00:00:00Z")
            };
            let known = number % 7 != 0;
            Record {
                time: start + millis(number * HOUR / 6 + number),
                app_id: known.then(|| app.into()),
                org_name: known.then(|| name.into()),
                model: (number % 5 != 0).then(|| format!("model-{}", number % 3)),
                status: [200, 404, 500][usize::try_from(number % 3).unwrap()],
                outcome: Outcome::ALL[usize::try_from(number % 8).unwrap()],
                prompt_tokens: (number % 4 != 0).then_some(number.unsigned_abs()),
                completion_tokens: Some(7),
                total_tokens: (number % 4 != 0).then_some(number.unsigned_abs() + 7),
                ..base
            }
        })
        .collect()
}

/// The same sums, made here in the simplest way.
pub fn expected(records: &[Record], query: &UsageQuery) -> Vec<UsageRow> {
    type Sum = (Option<String>, [u64; 5]);
    let mut sums: BTreeMap<(Timestamp, Option<String>, Option<String>), Sum> = BTreeMap::new();
    for record in records.iter().filter(|record| record.time >= query.from && record.time < query.to) {
        let step = match query.interval {
            Some(Interval::Hour) => HOUR,
            Some(Interval::Day) => 24 * HOUR,
            None => i64::MAX,
        };
        let start = match query.interval {
            None => query.from,
            Some(_) => Timestamp::from_millisecond(record.time.as_millisecond() / step * step).unwrap(),
        };
        let app = record.app_id.clone().filter(|_| query.group_by_app);
        let model = record.model.clone().filter(|_| query.group_by_model);
        let name = record.org_name.clone().filter(|_| app.is_some());
        let (_, sum) = sums.entry((start, app, model)).or_insert((name, [0; 5]));
        let sound = matches!(record.outcome, Outcome::Finished | Outcome::Replied) && record.status < 400;
        let tokens = [record.prompt_tokens, record.completion_tokens, record.total_tokens];
        let [prompt, completion, _] = tokens.map(Option::unwrap_or_default);
        let total = record.total_tokens.unwrap_or(prompt + completion);
        for (sum, more) in sum.iter_mut().zip([1, u64::from(!sound), prompt, completion, total]) {
            *sum += more;
        }
    }
    sums.into_iter()
        .map(|((start, app_id, model), (org_name, sum))| UsageRow {
            start,
            app_id,
            org_name,
            model,
            requests: sum[0],
            errors: sum[1],
            prompt_tokens: sum[2],
            completion_tokens: sum[3],
            total_tokens: sum[4],
        })
        .collect()
}

/// Compares usage in every grouping.
pub async fn assert_exact(store: &Arc<dyn Store>, records: &[Record], when: &str) {
    for interval in [None, Some(Interval::Hour), Some(Interval::Day)] {
        for (by_app, by_model) in [(false, false), (true, false), (false, true), (true, true)] {
            let query = usage_query(interval, by_app, by_model);
            let found = store.usage(&query).await.unwrap();
            assert_eq!(found, expected(records, &query), "{when}: {query:?}");
        }
    }
}

pub async fn usage_is_what_the_records_say_however_it_is_grouped(fixture: &Fixture) {
    let records = records();
    assert!(usage(&fixture.store).await.is_empty());
    fixture.store.append(&records).await.unwrap();
    assert_exact(&fixture.other, &records, "fresh").await;
    fixture.store.roll_up().await.unwrap();
    assert_exact(&fixture.other, &records, "rolled up").await;
    assert_eq!(fixture.store.roll_up().await.unwrap(), 0);
    let part = UsageQuery {
        from: time("2026-03-02T03:59:00Z"),
        to: time("2026-03-02T05:00:00.001Z"),
        ..usage_query(Some(Interval::Hour), true, true)
    };
    let whole =
        UsageQuery { from: time("2026-03-02T03:00:00Z"), to: time("2026-03-02T06:00:00Z"), ..part.clone() };
    assert_eq!(fixture.store.usage(&part).await.unwrap(), expected(&records, &whole));
}

pub async fn duplicates_do_not_count(fixture: &Fixture) {
    let records = records();
    for store in [&fixture.store, &fixture.other] {
        store.append(&records).await.unwrap();
        store.append(&records[100..]).await.unwrap();
        store.roll_up().await.unwrap();
    }
    assert_exact(&fixture.store, &records, "after duplicates").await;
}

pub async fn late_records_count(fixture: &Fixture) {
    let records = records();
    let (late, early): (Vec<_>, Vec<_>) =
        records.iter().cloned().enumerate().partition(|(number, _)| number % 3 == 0);
    let only = |part: Vec<(usize, Record)>| part.into_iter().map(|(_, record)| record).collect::<Vec<_>>();
    let (late, early) = (only(late), only(early));
    fixture.store.append(&early).await.unwrap();
    fixture.store.roll_up().await.unwrap();
    assert_exact(&fixture.store, &early, "without the late ones").await;
    fixture.other.append(&late).await.unwrap();
    assert_exact(&fixture.store, &records, "with the late ones").await;
    fixture.other.roll_up().await.unwrap();
    assert_exact(&fixture.store, &records, "with the late ones rolled up").await;
}

pub async fn a_renamed_app_has_its_newest_name(fixture: &Fixture) {
    let named = |name: &str, at: &str| Record { org_name: Some(name.into()), ..record(at) };
    let records = [
        named("Zeta", "2026-03-02T01:00:00Z"),
        named("Middle", "2026-03-02T03:00:00Z"),
        named("Alpha", "2026-03-02T05:00:00Z"),
        named("Later", "2026-03-03T05:00:00Z"),
    ];
    fixture.store.append(&records).await.unwrap();
    for when in ["fresh", "rolled up"] {
        let rows = fixture.store.usage(&usage_query(Some(Interval::Day), true, false)).await.unwrap();
        let rows: Vec<_> = rows.iter().map(|row| (row.org_name.as_deref().unwrap(), row.requests)).collect();
        assert_eq!(rows, [("Alpha", 3), ("Later", 1)], "{when}");
        fixture.store.roll_up().await.unwrap();
    }
}

pub async fn a_span_that_cannot_be_is_refused(fixture: &Fixture) {
    let backwards = UsageQuery {
        from: time("2026-03-02T00:00:00Z"),
        to: time("2026-03-01T00:00:00Z"),
        ..usage_query(None, false, false)
    };
    let endless =
        UsageQuery { from: time("2020-03-02T00:00:00Z"), ..usage_query(Some(Interval::Hour), false, false) };
    for query in [backwards, endless] {
        assert!(matches!(fixture.store.usage(&query).await, Err(StoreError::Invalid { .. })), "{query:?}");
    }
}

pub async fn usage_outlives_records_and_apps(fixture: &Fixture) {
    let stored = app("Acme");
    fixture.store.insert(&stored).await.unwrap();
    let records: Vec<_> = records()
        .into_iter()
        .map(|record| Record { app_id: Some(stored.app.id.clone()), org_name: Some("Acme".into()), ..record })
        .collect();
    fixture.store.append(&records).await.unwrap();
    fixture.store.delete(&stored.app.id).await.unwrap();
    let middle = time("2026-03-02T21:17:00Z");
    let old = records.iter().filter(|record| record.time < middle).count() as u64;
    assert_eq!(fixture.store.purge(middle, 10_000).await.unwrap(), old);
    assert_exact(&fixture.other, &records, "half of the records purged").await;
    fixture.store.roll_up().await.unwrap();
    assert_eq!(fixture.store.purge(time("2027-01-01T00:00:00Z"), 10_000).await.unwrap(), 300 - old);
    assert_exact(&fixture.other, &records, "all records purged").await;
    fixture.store.roll_up().await.unwrap();
    assert_exact(&fixture.other, &records, "rolled up after that").await;
    assert_eq!(fixture.other.page(&super::fixture::all(), 1, 10).await.unwrap().total, 0);
    assert_eq!(sums(&fixture.store).await.0, 300);
}
