//! Records: appending, finding and exporting them.

use std::{collections::BTreeSet, pin::pin, time::Duration};

use futures_util::future::{Either, select};
use uuid::Uuid;
use vllm_gateway_store::{LogQuery, Outcome, Pace, Record, StoreError, TokenSource};

use super::fixture::{Fixture, all, app, bare_record, millis, record, sums, time};

const NOON: &str = "2026-03-02T12:00:00.123Z";

async fn stored(fixture: &Fixture, query: &LogQuery) -> Vec<Record> {
    let page = fixture.other.page(query, 1, 200).await.unwrap();
    assert_eq!(page.total, page.items.len() as u64);
    page.items
}

pub async fn a_record_comes_back_as_it_was_stored(fixture: &Fixture) {
    let mut records = vec![bare_record(NOON), record(NOON)];
    for outcome in Outcome::ALL {
        records.push(Record { outcome, ..record(NOON) });
    }
    for token_source in [TokenSource::Usage, TokenSource::Partial, TokenSource::Estimated, TokenSource::None]
    {
        records.push(Record { token_source, ..record(NOON) });
    }
    let appended = fixture.store.append(&records).await.unwrap();
    assert_eq!((appended.stored, appended.rejected.len()), (records.len(), 0));
    for expected in &records {
        let found = stored(fixture, &all()).await;
        assert_eq!(found.iter().find(|record| record.id == expected.id), Some(expected));
    }
}

pub async fn a_record_appended_again_is_stored_once(fixture: &Fixture) {
    let first = record(NOON);
    let again = Record { request_id: "changed".into(), ..first.clone() };
    assert_eq!(fixture.store.append(&[first.clone(), first.clone()]).await.unwrap().stored, 2);
    assert_eq!(fixture.other.append(&[again, record(NOON)]).await.unwrap().stored, 2);
    let found = stored(fixture, &all()).await;
    assert_eq!(found.len(), 2);
    assert!(found.contains(&first));
    assert_eq!(fixture.store.append(&[]).await.unwrap().stored, 0);
}

pub async fn a_poison_record_is_named_and_stops_no_other(fixture: &Fixture) {
    let records = [
        record(NOON),
        Record { id: Uuid::nil(), ..record(NOON) },
        record(NOON),
        Record { total_tokens: Some(u64::MAX), ..record(NOON) },
        Record { duration_ms: u64::MAX, ..record(NOON) },
        Record { user_agent: Some("x".repeat(100_000)), ..record(NOON) },
        record(NOON),
    ];
    let appended = fixture.store.append(&records).await.unwrap();
    assert_eq!(appended.stored, 3);
    let named: Vec<_> = appended.rejected.iter().map(|rejected| rejected.index).collect();
    assert_eq!(named, [1, 3, 4, 5]);
    assert!(appended.rejected[1].reason.contains("totalTokens"), "{:?}", appended.rejected);
    assert_eq!(stored(fixture, &all()).await.len(), 3);
    assert_eq!(sums(&fixture.store).await, (3, 15));
}

pub async fn more_records_than_a_batch_holds_are_all_stored(fixture: &Fixture) {
    let mut records: Vec<Record> = (0..1_203).map(|_| record(NOON)).collect();
    records[1_101].id = Uuid::nil();
    let appended = fixture.store.append(&records).await.unwrap();
    assert_eq!((appended.stored, appended.rejected.len()), (1_202, 1));
    assert_eq!(appended.rejected[0].index, 1_101);
    assert_eq!(fixture.store.page(&all(), 7, 200).await.unwrap().items.len(), 2);
    assert_eq!(sums(&fixture.store).await, (1_202, 5 * 1_202));
}

pub async fn records_that_go_behind_all_else_are_all_stored_and_hold_no_app_up(fixture: &Fixture) {
    let mut records: Vec<Record> = (0..3_000).map(|_| record(NOON)).collect();
    records[2_345].id = Uuid::nil();
    let records = (&records[..]).into();
    let pace = Pace::by(Duration::from_micros(50)).behind_all_others();
    let mut appending = pin!(fixture.store.append_records(&records, pace));
    // Each of these wants to write, too, amid what is being appended.
    for number in 0.. {
        let app = app(&format!("Organisation {number}"));
        let inserting = fixture.store.insert(&app);
        match select(&mut appending, pin!(inserting)).await {
            Either::Right((inserted, _)) => inserted.unwrap(),
            Either::Left((appended, inserting)) => {
                inserting.await.unwrap();
                let appended = appended.unwrap();
                assert_eq!((appended.stored, appended.rejected.len()), (2_999, 1));
                assert_eq!(appended.rejected[0].index, 2_345);
                break;
            }
        }
    }
    assert_eq!(fixture.other.page(&all(), 1, 1).await.unwrap().total, 2_999);
    assert_eq!(sums(&fixture.store).await, (2_999, 5 * 2_999));
}

pub async fn every_filter_finds_its_records_and_no_others(fixture: &Fixture) {
    let plain = record(NOON);
    let others = [
        Record { app_id: Some("app-b".into()), ..record(NOON) },
        Record { model: Some("qwen3-32b".into()), ..record(NOON) },
        Record { outcome: Outcome::ClientGone, ..record(NOON) },
        Record { status: 503, ..record(NOON) },
        Record { request_id: "req-2".into(), ..record(NOON) },
        Record { time: time("2026-03-02T13:00:00Z"), ..record(NOON) },
        bare_record(NOON),
    ];
    fixture.store.append(std::slice::from_ref(&plain)).await.unwrap();
    fixture.store.append(&others).await.unwrap();
    let queries = [
        LogQuery { app_id: Some("app-b".into()), ..all() },
        LogQuery { model: Some("qwen3-32b".into()), ..all() },
        LogQuery { outcome: Some(Outcome::ClientGone), ..all() },
        LogQuery { status: Some(503), ..all() },
        LogQuery { request_id: Some("req-2".into()), ..all() },
        LogQuery { from: Some(time("2026-03-02T12:00:01Z")), ..all() },
        LogQuery { outcome: Some(Outcome::Replied), status: Some(401), ..all() },
    ];
    for (query, expected) in queries.iter().zip(&others) {
        assert_eq!(stored(fixture, query).await, std::slice::from_ref(expected), "{query:?}");
    }
    let exact = LogQuery {
        app_id: Some("app-a".into()),
        model: Some("Qwen3-32B".into()),
        outcome: Some(Outcome::Finished),
        status: Some(200),
        from: Some(time(NOON)),
        to: Some(time(NOON) + millis(1)),
        request_id: Some("req-1".into()),
    };
    assert_eq!(stored(fixture, &exact).await, [plain]);
    let nothing = LogQuery { model: Some("{\"$ne\":null}' OR 1=1".into()), ..all() };
    assert!(stored(fixture, &nothing).await.is_empty());
}

pub async fn records_of_one_time_are_in_the_order_of_their_ids(fixture: &Fixture) {
    let numbered = |number: u128, at: &str| Record { id: Uuid::from_u128(number), ..record(at) };
    let (early, late) = ("2026-03-02T11:59:59.999Z", "2026-03-02T12:00:00Z");
    let records = [numbered(5, late), numbered(9, early), numbered(1 << 100, late), numbered(7, late)];
    fixture.store.append(&records).await.unwrap();
    let order: Vec<_> = stored(fixture, &all()).await.iter().map(|record| record.id.as_u128()).collect();
    assert_eq!(order, [1 << 100, 7, 5, 9]);
}

pub async fn a_range_of_time_is_exact_to_the_millisecond(fixture: &Fixture) {
    let start = time("2026-03-02T12:00:00Z");
    let records: Vec<_> =
        (0..4).map(|number| Record { time: start + millis(number), ..record(NOON) }).collect();
    fixture.store.append(&records).await.unwrap();
    for (from, to, expected) in [(0, 4, 4), (1, 3, 2), (1, 1, 0), (3, 2, 0), (2, 9, 2)] {
        let query = LogQuery { from: Some(start + millis(from)), to: Some(start + millis(to)), ..all() };
        assert_eq!(stored(fixture, &query).await.len(), expected, "{from} to {to}");
    }
}

pub async fn an_export_gives_every_record_once_whatever_happens_meanwhile(fixture: &Fixture) {
    // Pairs of one time, so that places between equal times are passed too.
    let start = time("2026-03-02T12:00:00Z");
    let at = |number: i64| Record { time: start + millis(number / 2), ..record(NOON) };
    let records: Vec<_> = (0..31).map(at).collect();
    fixture.store.append(&records).await.unwrap();
    fixture.store.append(&[Record { app_id: None, ..at(3) }]).await.unwrap();
    let query = LogQuery { app_id: Some("app-a".into()), ..all() };
    let (mut seen, mut cursor, mut calls) = (Vec::new(), None::<String>, 0);
    loop {
        let store = if calls % 2 == 0 { &fixture.store } else { &fixture.other };
        let (items, next) = store.export(&query, cursor.as_deref(), 7).await.unwrap();
        seen.extend(items);
        calls += 1;
        // Newer records do not push anything out of its place.
        fixture.store.append(&[at(1_000)]).await.unwrap();
        let Some(next) = next else { break };
        cursor = Some(next);
    }
    assert_eq!(calls, 5);
    assert!(seen.is_sorted_by(|a, b| (a.time, a.id) > (b.time, b.id)));
    let ids = |records: &[Record]| records.iter().map(|record| record.id).collect::<BTreeSet<_>>();
    assert_eq!(ids(&seen), ids(&records));
    // A place whose record has been purged is still a place.
    let (_, after) = fixture.store.export(&query, None, 10).await.unwrap();
    let rest = fixture.store.export(&query, after.as_deref(), 1_000).await.unwrap().0;
    fixture.store.purge(start + millis(3), 1_000).await.unwrap();
    let left = fixture.store.export(&query, after.as_deref(), 1_000).await.unwrap();
    assert_eq!(left.0, rest[..rest.len() - 6]);
    assert_eq!(left.1, None);
    // Exactly the last ones: no cursor leads behind them.
    let all = fixture.store.page(&query, 1, 1).await.unwrap().total;
    assert_eq!(fixture.store.export(&query, None, u32::try_from(all).unwrap()).await.unwrap().1, None);
}

pub async fn a_bad_cursor_or_limit_is_refused(fixture: &Fixture) {
    for cursor in ["x", "01", "'", &"0".repeat(66)] {
        let export = fixture.store.export(&all(), Some(cursor), 10).await;
        assert!(matches!(export, Err(StoreError::Invalid { .. })), "{cursor}");
    }
    for limit in [0, 1_001] {
        assert!(matches!(fixture.store.export(&all(), None, limit).await, Err(StoreError::Invalid { .. })));
    }
    assert_eq!(fixture.store.export(&all(), Some(""), 10).await.unwrap(), (Vec::new(), None));
}

pub async fn a_closed_store_says_so(fixture: &Fixture) {
    fixture.store.ping().await.unwrap();
    fixture.store.append(&[record(NOON)]).await.unwrap();
    fixture.store.close().await;
    fixture.store.close().await;
    for error in [
        fixture.store.ping().await.unwrap_err(),
        fixture.store.append(&[record(NOON)]).await.unwrap_err(),
        fixture.store.insert(&app("late")).await.unwrap_err(),
        fixture.store.page(&all(), 1, 1).await.unwrap_err(),
    ] {
        assert!(error.is_unavailable() && error.to_string().contains("closed"), "{error:?}");
    }
    assert_eq!(fixture.other.page(&all(), 1, 1).await.unwrap().total, 1);
}
