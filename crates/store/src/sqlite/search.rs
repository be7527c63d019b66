//! Finding records: which of them are meant, how many there are, and some of them in their order.
//!
//! The order is that of (time, id), the time in milliseconds: ids of one millisecond are in the order of what follows in
//! them. A question goes through the slots that have its rarest term, newest first, and looks at the records of those;
//! one with a request id through the index of those.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use vllm_gateway_record::Record;

use super::failed;
use super::records::{COLUMNS, GROUP, id_of, minted, record_of, request_hash};
use super::slots::{self, SLOT, Term};
use crate::cursor::Place;
use crate::times::{micros, micros_up};
use crate::{LogQuery, StoreError};

const MICROS: i64 = 1_000;

/// Which records are meant.
pub(super) struct Search<'q> {
    terms: Vec<Term<'q>>,
    request_id: Option<&'q str>,
    range: Range,
}

/// Microseconds since 1970, the end not included.
#[derive(Clone, Copy)]
struct Range {
    from: i64,
    to: i64,
}

impl Range {
    /// From this millisecond on.
    fn first(self) -> i64 {
        self.from.div_euclid(MICROS)
    }

    /// To this millisecond, included.
    fn last(self) -> i64 {
        self.to.saturating_sub(1).div_euclid(MICROS)
    }

    /// The slots that lie in it as a whole, from the first to before the second.
    fn whole_slots(self) -> (i64, i64) {
        let slot = SLOT * MICROS;
        (self.from.div_euclid(slot) + i64::from(self.from.rem_euclid(slot) != 0), self.to.div_euclid(slot))
    }
}

impl<'q> Search<'q> {
    pub(super) fn of(query: &'q LogQuery) -> Self {
        let LogQuery { app_id, model, outcome, status, from, to, request_id } = query;
        let terms = [
            app_id.as_deref().map(Term::App),
            model.as_deref().map(Term::Model),
            outcome.map(Term::Outcome),
            status.map(Term::Status),
        ];
        let range = Range { from: from.map_or(i64::MIN, micros), to: to.map_or(i64::MAX, micros_up) };
        Self { terms: terms.into_iter().flatten().collect(), request_id: request_id.as_deref(), range }
    }

    /// How many there are.
    pub(super) fn total(&self, connection: &Connection) -> Result<i64, StoreError> {
        let Some(term) = self.counted() else { return self.count(connection, self.range) };
        let (first, end) = self.range.whole_slots();
        if first >= end {
            return self.count(connection, self.range);
        }
        let whole = slots::count(connection, term, first, end - 1)?;
        Ok(self.before(connection, first)? + whole + self.behind(connection, end)?)
    }

    /// So many of them, the newest first, but for so many of the newest.
    pub(super) fn page(
        &self,
        connection: &Connection,
        limit: i64,
        offset: i64,
    ) -> Result<Vec<Record>, StoreError> {
        let (range, offset) = self.skip(connection, offset)?;
        self.select(connection, range, None, limit, offset)
    }

    /// So many of those that come after this place.
    pub(super) fn after(
        &self,
        connection: &Connection,
        place: Option<Place>,
        limit: i64,
    ) -> Result<Vec<Record>, StoreError> {
        let mut range = self.range;
        if let Some(place) = place {
            let end = place.time.div_euclid(MICROS).saturating_add(1).saturating_mul(MICROS);
            range.to = range.to.min(end);
        }
        self.select(connection, range, place, limit, 0)
    }

    /// The term by whose slots records are counted without looking at them, if there is one.
    fn counted(&self) -> Option<Term<'q>> {
        match (self.request_id, self.terms.as_slice()) {
            (None, []) => Some(Term::All),
            (None, [term]) => Some(*term),
            _ => None,
        }
    }

    /// How many there are before this slot begins.
    fn before(&self, connection: &Connection, slot: i64) -> Result<i64, StoreError> {
        let range = Range { to: slot.saturating_mul(SLOT * MICROS), ..self.range };
        self.count(connection, range)
    }

    /// How many there are from the beginning of this slot on.
    fn behind(&self, connection: &Connection, slot: i64) -> Result<i64, StoreError> {
        let range = Range { from: slot.saturating_mul(SLOT * MICROS), ..self.range };
        self.count(connection, range)
    }

    /// What is left of the range behind whole slots of newer records, and of these so many.
    fn skip(&self, connection: &Connection, offset: i64) -> Result<(Range, i64), StoreError> {
        let Some(term) = self.counted().filter(|_| offset > 0) else { return Ok((self.range, offset)) };
        let (first, end) = self.range.whole_slots();
        if first >= end {
            return Ok((self.range, offset));
        }
        let newer = offset - self.behind(connection, end)?;
        if newer < 0 {
            return Ok((self.range, offset));
        }
        let to_slot = |slot: i64| Range { to: slot.saturating_mul(SLOT * MICROS), ..self.range };
        match slots::find(connection, term, (first, end - 1), newer)? {
            Some((slot, newer)) => Ok((to_slot(slot + 1), newer)),
            None => Ok((to_slot(first), newer - slots::count(connection, term, first, end - 1)?)),
        }
    }

    fn count(&self, connection: &Connection, range: Range) -> Result<i64, StoreError> {
        if range.from >= range.to {
            return Ok(0);
        }
        let sql = self.sql(connection, "count(*)", range, None)?;
        connection
            .prepare_cached(&sql.text)
            .and_then(|mut statement| statement.query_row(params_from_iter(&sql.values), |row| row.get(0)))
            .map_err(failed)
    }

    fn select(
        &self,
        connection: &Connection,
        range: Range,
        after: Option<Place>,
        limit: i64,
        offset: i64,
    ) -> Result<Vec<Record>, StoreError> {
        if range.from >= range.to {
            return Ok(Vec::new());
        }
        let mut sql = self.sql(connection, COLUMNS, range, after)?;
        self.order(&mut sql);
        sql.add(" LIMIT ? OFFSET ?", [limit.into(), offset.into()]);
        let mut statement = connection.prepare_cached(&sql.text).map_err(failed)?;
        let rows =
            statement.query_map(params_from_iter(&sql.values), |row| Ok(record_of(row))).map_err(failed)?;
        rows.map(|row| row.map_err(failed)?).collect()
    }

    /// The query up to its order.
    fn sql(
        &self,
        connection: &Connection,
        what: &str,
        range: Range,
        after: Option<Place>,
    ) -> Result<Sql, StoreError> {
        let (first, last) = (range.first(), range.last());
        let mut sql = Sql::default();
        if let Some(request_id) = self.request_id {
            sql.add(
                "WITH RECURSIVE groups (number) AS (
                     SELECT max(place) >> ? FROM records
                     UNION ALL
                     SELECT number - 1 FROM groups WHERE number > (SELECT min(place) >> ? FROM records)
                 ), places (place) AS (
                     SELECT f.place FROM groups CROSS JOIN records f INDEXED BY records_request
                     WHERE f.request_key = (groups.number << 32 | ?) AND f.request_id = ?",
                [GROUP.into(), GROUP.into(), request_hash(request_id).into(), request_id.to_owned().into()],
            );
            if let Some(id) = id_of(request_id) {
                sql.add(
                    " UNION ALL SELECT place FROM records INDEXED BY records_order
                      WHERE time = ? AND id = ? AND request_id IS NULL",
                    [minted(id).into(), id.into_bytes().to_vec().into()],
                );
            }
            sql.add(") SELECT ", []);
            sql.add(what, []);
            sql.add(
                " FROM places CROSS JOIN records r ON r.place = places.place WHERE r.time BETWEEN ? AND ?",
                [first.into(), last.into()],
            );
        } else if let Some(rarest) = self.rarest(connection, first, last)? {
            sql.add("SELECT ", []);
            sql.add(what, []);
            sql.add(
                " FROM record_slots s CROSS JOIN records r INDEXED BY records_order
                  WHERE s.field = ? AND s.value = ? AND s.slot BETWEEN ? AND ?
                      AND r.time BETWEEN max(s.first, ?) AND min(s.last, ?)",
                [
                    rarest.field().into(),
                    value(rarest),
                    first.div_euclid(SLOT).into(),
                    last.div_euclid(SLOT).into(),
                    first.into(),
                    last.into(),
                ],
            );
            for other in self.terms.iter().filter(|term| **term != rarest) {
                sql.add(
                    " AND EXISTS (SELECT 1 FROM record_slots o WHERE o.field = ? AND o.value = ? AND o.slot = s.slot)",
                    [other.field().into(), value(*other)],
                );
            }
        } else {
            sql.add("SELECT ", []);
            sql.add(what, []);
            sql.add(
                " FROM records r INDEXED BY records_order WHERE r.time BETWEEN ? AND ?",
                [first.into(), last.into()],
            );
        }
        for term in &self.terms {
            sql.add(" AND ", []);
            sql.add(term.condition(), [value(*term)]);
        }
        if range.from.rem_euclid(MICROS) != 0 && range.from != i64::MIN {
            sql.add(" AND r.time * 1000 + r.micros >= ?", [range.from.into()]);
        }
        if range.to.rem_euclid(MICROS) != 0 && range.to != i64::MAX {
            sql.add(" AND r.time * 1000 + r.micros < ?", [range.to.into()]);
        }
        if let Some(place) = after {
            let time = place.time.div_euclid(MICROS);
            sql.add(" AND (r.time, r.id) < (?, ?)", [time.into(), place.id.into_bytes().to_vec().into()]);
        }
        Ok(sql)
    }

    fn order(&self, sql: &mut Sql) {
        let by_slot = self.request_id.is_none() && !self.terms.is_empty();
        sql.add(if by_slot { " ORDER BY s.slot DESC, " } else { " ORDER BY " }, []);
        sql.add("r.time DESC, r.id DESC", []);
    }

    /// The term that the fewest records have.
    fn rarest(&self, connection: &Connection, first: i64, last: i64) -> Result<Option<Term<'q>>, StoreError> {
        if let [] | [_] = self.terms.as_slice() {
            return Ok(self.terms.first().copied());
        }
        let (first, last) = (first.div_euclid(SLOT), last.div_euclid(SLOT));
        let mut rarest = None;
        for term in &self.terms {
            let records = slots::count(connection, *term, first, last)?;
            if rarest.is_none_or(|(fewest, _)| records < fewest) {
                rarest = Some((records, *term));
            }
        }
        Ok(rarest.map(|(_, term)| term))
    }
}

fn value(term: Term<'_>) -> Value {
    match term {
        Term::All => Value::from(0_i64),
        Term::App(text) | Term::Model(text) => Value::from(text.to_owned()),
        Term::Outcome(outcome) => Value::from(outcome.as_str().to_owned()),
        Term::Status(status) => Value::from(i64::from(status)),
    }
}

/// A query: fixed text, the values always as parameters.
#[derive(Default)]
struct Sql {
    text: String,
    values: Vec<Value>,
}

impl Sql {
    fn add<const N: usize>(&mut self, text: &str, values: [Value; N]) {
        self.text.push_str(text);
        self.values.extend(values);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use vllm_gateway_record::Outcome;

    use super::*;
    use crate::sqlite::schema::migrate;

    #[test]
    fn every_question_has_an_index_that_also_gives_the_order() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let app_id = || Some("a".to_owned());
        let from = Some(jiff::Timestamp::UNIX_EPOCH);
        for query in [
            LogQuery::default(),
            LogQuery { from, to: from, ..LogQuery::default() },
            LogQuery { app_id: app_id(), from, ..LogQuery::default() },
            LogQuery { model: app_id(), ..LogQuery::default() },
            LogQuery { outcome: Some(Outcome::Replied), ..LogQuery::default() },
            LogQuery { status: Some(200), app_id: app_id(), from, ..LogQuery::default() },
            LogQuery { request_id: app_id(), from, ..LogQuery::default() },
            LogQuery { request_id: Some("0".repeat(32)), ..LogQuery::default() },
        ] {
            let by_request = query.request_id.is_some();
            let search = Search::of(&query);
            let place = Place { time: 9, id: uuid::Uuid::from_u128(9) };
            let mut sql = search.sql(&connection, COLUMNS, search.range, Some(place)).unwrap();
            sql.text.insert_str(0, "EXPLAIN QUERY PLAN ");
            search.order(&mut sql);
            let mut statement = connection.prepare(&sql.text).unwrap();
            let plan: Vec<String> = statement
                .query_map(params_from_iter(&sql.values), |row| row.get(3))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            let index = if by_request { "records_request (request_key=?)" } else { "records_order (time" };
            assert!(plan.iter().any(|step| step.contains(index)), "{query:?}: {plan:?}");
            // The few records of a request id are sorted when they are found.
            let sorted = plan.iter().any(|step| step.contains("FOR ORDER BY"));
            assert_eq!(sorted, by_request, "{query:?}: {plan:?}");
            assert!(!plan.iter().any(|step| step.starts_with("SCAN r")), "{query:?}: {plan:?}");
        }
    }
}
