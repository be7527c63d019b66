//! Retention: what goes, what stays, and what comes back.

use vllm_gateway_store::Record;

use super::fixture::{Fixture, all, millis, record, sums, time};
use super::usage::{assert_exact, records};

pub async fn the_oldest_records_go_and_no_more_than_allowed(fixture: &Fixture) {
    let start = time("2026-03-02T12:00:00Z");
    let records: Vec<_> = (0..2_500)
        .map(|number| Record { time: start + millis(number * 4_000), ..record("2026-03-02T12:00:00Z") })
        .collect();
    fixture.store.append(&records).await.unwrap();
    let end = start + millis(2_000 * 4_000);
    assert_eq!(fixture.store.purge(end, 0).await.unwrap(), 0);
    assert_eq!(fixture.store.purge(end, 1_234).await.unwrap(), 1_234);
    let (left, _) = fixture.other.export(&all(), None, 1_000).await.unwrap();
    assert_eq!(fixture.other.page(&all(), 1, 1).await.unwrap().total, 1_266);
    assert_eq!(left.first(), records.last());
    let oldest = fixture.other.page(&all(), 1_266, 1).await.unwrap();
    assert_eq!(oldest.items, [records[1_234].clone()]);
    assert_eq!(fixture.store.purge(end, 10_000).await.unwrap(), 766);
    assert_eq!(fixture.store.purge(end, 10_000).await.unwrap(), 0);
    // Half open: the record of that very time stays.
    let oldest = fixture.other.page(&all(), 500, 1).await.unwrap();
    assert_eq!((oldest.items, oldest.total), (vec![records[2_000].clone()], 500));
    assert_eq!(sums(&fixture.other).await.0, 2_500);
}

pub async fn a_purged_record_that_is_shipped_again_is_not_counted_again(fixture: &Fixture) {
    let records = records();
    fixture.store.append(&records).await.unwrap();
    fixture.store.purge(time("2026-03-02T12:30:00Z"), 10_000).await.unwrap();
    let appended = fixture.other.append(&records).await.unwrap();
    assert_eq!((appended.stored, appended.rejected.len()), (300, 0));
    assert_exact(&fixture.store, &records, "shipped again").await;
    fixture.store.roll_up().await.unwrap();
    assert_exact(&fixture.store, &records, "shipped again and rolled up").await;
}

pub async fn records_that_come_after_their_hour_was_purged_count(fixture: &Fixture) {
    let mut records = records();
    fixture.store.append(&records).await.unwrap();
    fixture.store.purge(time("2027-01-01T00:00:00Z"), 10_000).await.unwrap();
    let late: Vec<_> = (0..50)
        .map(|number| Record { id: record("2026-03-01T00:00:00Z").id, ..records[number * 3].clone() })
        .collect();
    fixture.store.append(&late).await.unwrap();
    records.extend(late);
    assert_exact(&fixture.other, &records, "late").await;
    fixture.store.roll_up().await.unwrap();
    assert_exact(&fixture.other, &records, "late and rolled up").await;
    assert_eq!(fixture.store.purge(time("2027-01-01T00:00:00Z"), 10_000).await.unwrap(), 50);
    assert_exact(&fixture.other, &records, "late and purged").await;
}
