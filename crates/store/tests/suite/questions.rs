//! Questions of every kind, answered as by looking at every record.

use jiff::Timestamp;
use uuid::Uuid;
use vllm_gateway_store::{LogQuery, Outcome, Record};

use super::fixture::{Fixture, all, millis, record, time};

/// Numbers that look like chance and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn maybe<T>(&mut self, one_in: u64, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(one_in) == 0).then(|| make(self))
    }

    /// Some time of a few minutes; often the same as another.
    fn time(&mut self) -> Timestamp {
        let span = if self.below(3) == 0 { 100 } else { 150_000 };
        time("2026-03-02T12:00:00Z") + millis(i64::try_from(self.below(span)).unwrap() / 4 * 4)
    }

    fn app(&mut self) -> String {
        // A few that are common, and many that are rare.
        let number = self.below(40);
        format!("app-{}", if number < 30 { number % 3 } else { self.below(60) })
    }

    fn model(&mut self) -> String {
        ["m1", "m2", "m3"][usize::try_from(self.below(3)).unwrap()].to_owned()
    }

    fn record(&mut self) -> Record {
        let time = self.time();
        // Some as gateways mint them, some that have nothing to do with the time.
        let random = u128::from(self.below(1 << 31)) << 31 | u128::from(self.below(1 << 31));
        let minted = u128::from(time.as_millisecond().unsigned_abs()) << 80 | 7 << 76 | random;
        let id = Uuid::from_u128(if self.below(4) == 0 { random + 1 } else { minted });
        let request_id = match self.below(3) {
            0 => id.simple().to_string(),
            _ => format!("r-{}", self.below(20)),
        };
        Record {
            id,
            request_id,
            time,
            app_id: (self.below(9) != 0).then(|| self.app()),
            model: (self.below(9) != 0).then(|| self.model()),
            outcome: Outcome::ALL[usize::try_from(self.below(3)).unwrap()],
            status: [200, 404, 503][usize::try_from(self.below(3)).unwrap()],
            ..record("2026-03-02T12:00:00Z")
        }
    }

    fn query(&mut self, records: &[Record]) -> LogQuery {
        LogQuery {
            app_id: self.maybe(3, Self::app),
            model: self.maybe(4, Self::model),
            outcome: self.maybe(5, |dice| Outcome::ALL[usize::try_from(dice.below(4)).unwrap()]),
            status: self.maybe(5, |dice| [200, 404, 503, 401][usize::try_from(dice.below(4)).unwrap()]),
            from: self.maybe(2, Self::time),
            to: self.maybe(2, Self::time),
            request_id: self.maybe(5, |dice| {
                let at = usize::try_from(dice.below(records.len().max(1) as u64)).unwrap();
                records.get(at).map_or_else(|| "r-1".to_owned(), |record| record.request_id.clone())
            }),
        }
    }
}

fn is_meant(record: &Record, query: &LogQuery) -> bool {
    let LogQuery { app_id, model, outcome, status, from, to, request_id } = query;
    app_id.as_ref().is_none_or(|app_id| record.app_id.as_ref() == Some(app_id))
        && model.as_ref().is_none_or(|model| record.model.as_ref() == Some(model))
        && outcome.is_none_or(|outcome| record.outcome == outcome)
        && status.is_none_or(|status| record.status == status)
        && from.is_none_or(|from| record.time >= from)
        && to.is_none_or(|to| record.time < to)
        && request_id.as_ref().is_none_or(|request_id| record.request_id == *request_id)
}

async fn ask_everything(fixture: &Fixture, dice: &mut Dice, records: &[Record]) {
    for _ in 0..60 {
        let query = dice.query(records);
        let mut meant: Vec<&Record> = records.iter().filter(|record| is_meant(record, &query)).collect();
        meant.sort_by_key(|record| std::cmp::Reverse((record.time, record.id)));
        let size = 1 + usize::try_from(dice.below(50)).unwrap();
        let pages = meant.len() / size + 2;
        let number = 1 + usize::try_from(dice.below(pages as u64)).unwrap();
        let page = fixture.other.page(&query, number as u64, u32::try_from(size).unwrap()).await.unwrap();
        assert_eq!(page.total, meant.len() as u64, "{query:?}");
        let wanted: Vec<_> = meant.iter().skip((number - 1) * size).take(size).collect();
        assert_eq!(
            page.items.iter().collect::<Vec<_>>(),
            wanted.into_iter().copied().collect::<Vec<_>>(),
            "{query:?}"
        );
        let (mut seen, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let limit = u32::try_from(size * 5).unwrap();
            let (items, next) = fixture.other.export(&query, cursor.as_deref(), limit).await.unwrap();
            seen.extend(items);
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen.iter().collect::<Vec<_>>(), meant, "{query:?}");
    }
}

pub async fn every_question_is_answered_as_by_looking_at_every_record(fixture: &Fixture) {
    let mut dice = Dice(7);
    let mut records: Vec<Record> = (0..900).map(|_| dice.record()).collect();
    for batch in records.chunks(70) {
        fixture.store.append(batch).await.unwrap();
        // Nothing is counted twice.
        fixture.store.append(&batch[..batch.len() / 2]).await.unwrap();
    }
    ask_everything(fixture, &mut dice, &records).await;
    assert_eq!(fixture.store.purge(time("2026-03-02T13:00:00Z"), 333).await.unwrap(), 333);
    records.sort_by_key(|record| (record.time, record.id));
    let purged: Vec<_> = records.drain(..333).collect();
    fixture.store.append(&purged).await.unwrap();
    ask_everything(fixture, &mut dice, &records).await;
    let late: Vec<_> = (0..100).map(|_| dice.record()).collect();
    fixture.store.append(&late).await.unwrap();
    records.extend(late);
    ask_everything(fixture, &mut dice, &records).await;
    assert_eq!(fixture.store.purge(time("2026-03-02T13:00:00Z"), 10_000).await.unwrap(), 667);
    assert_eq!(fixture.other.page(&all(), 1, 1).await.unwrap().total, 0);
    ask_everything(fixture, &mut dice, &records[..0]).await;
}

pub async fn a_record_is_known_by_its_id_under_whatever_time_it_comes_again(fixture: &Fixture) {
    let at = time("2026-03-02T12:00:00.500Z");
    let minted = u128::from(at.as_millisecond().unsigned_abs()) << 80 | 7 << 76 | 9;
    for (number, id) in [Uuid::from_u128(minted), Uuid::from_u128(77)].into_iter().enumerate() {
        let first = Record { id, time: at, ..record("2026-03-02T12:00:00Z") };
        let elsewhere = Record { time: at + millis(3_600_000), status: 503, ..first.clone() };
        fixture.store.append(std::slice::from_ref(&first)).await.unwrap();
        fixture.store.append(&[elsewhere.clone(), first.clone(), elsewhere.clone()]).await.unwrap();
        assert_eq!(fixture.other.page(&all(), 1, 10).await.unwrap().total, number as u64 + 1);
    }
    let id = Uuid::from_u128(minted + 1);
    let elsewhere = Record { id, time: at + millis(1), ..record("2026-03-02T12:00:00Z") };
    let minted_then = Record { time: at, ..elsewhere.clone() };
    fixture.store.append(&[elsewhere.clone(), minted_then]).await.unwrap();
    let found = fixture.other.page(&all(), 1, 10).await.unwrap();
    assert_eq!((found.total, &found.items[0]), (3, &elsewhere));
}
