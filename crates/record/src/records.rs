//! Records in one piece of memory, which is made at once, handed around without copying and given back at once.

use std::ops::Range;
use std::sync::Arc;

use crate::Record;

/// Several records with all their texts in one piece of memory. A clone shares it.
#[derive(Clone, Default)]
pub struct Records {
    shared: Arc<Gathered>,
    part: Range<usize>,
}

/// Records that are gathered one by one.
#[derive(Default)]
pub struct Gathered {
    texts: String,
    records: Vec<Record<Stretch>>,
}

/// Where a text stands among all texts.
#[derive(Clone, Copy)]
struct Stretch {
    start: usize,
    end: usize,
}

impl Gathered {
    /// Adds a record, copying its texts.
    pub fn push(&mut self, record: &Record<&str>) {
        let texts = &mut self.texts;
        self.records.push(record.each(|text| {
            let start = texts.len();
            texts.push_str(text);
            Stretch { start, end: texts.len() }
        }));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

impl From<Gathered> for Records {
    fn from(gathered: Gathered) -> Self {
        let part = 0..gathered.records.len();
        Self { shared: Arc::new(gathered), part }
    }
}

impl From<&[Record]> for Records {
    fn from(records: &[Record]) -> Self {
        let mut gathered = Gathered::default();
        records.iter().for_each(|record| gathered.push(&record.borrowed()));
        gathered.into()
    }
}

impl Records {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.part.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.part.is_empty()
    }

    /// One of them, with its texts borrowed from here.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<Record<&str>> {
        self.records().get(at).map(|record| self.shared.borrowed(record))
    }

    /// All of them in their order, with their texts borrowed from here.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<&str>> {
        self.records().iter().map(|record| self.shared.borrowed(record))
    }

    /// Some of them, as far as there are; in the same memory.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Self {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let part = self.part.start + start..self.part.start + end;
        Self { shared: Arc::clone(&self.shared), part }
    }

    fn records(&self) -> &[Record<Stretch>] {
        self.shared.records.get(self.part.clone()).unwrap_or_default()
    }
}

impl Gathered {
    fn borrowed(&self, record: &Record<Stretch>) -> Record<&str> {
        record.each(|text| self.texts.get(text.start..text.end).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::{Outcome, TokenSource};

    fn record(number: u8) -> Record {
        Record {
            id: Uuid::from_u128(number.into()),
            request_id: format!("r-{number}"),
            time: Timestamp::UNIX_EPOCH,
            app_id: Some("ä".into()),
            org_name: None,
            key_prefix: Some(String::new()),
            method: "POST".into(),
            path: "/v1/chat/completions".into(),
            pipeline: Some("default".into()),
            model: Some("Qwen3-32B".into()),
            upstream: Some("qwen".into()),
            endpoint: Some(format!("http://10.0.0.{number}:8000")),
            upstream_model: None,
            stream: true,
            status: 200,
            outcome: Outcome::Finished,
            error_code: None,
            prompt_tokens: Some(7),
            completion_tokens: Some(u64::from(number)),
            total_tokens: None,
            cached_tokens: None,
            reasoning_tokens: Some(u64::MAX),
            token_source: TokenSource::Usage,
            duration_ms: 900,
            ttft_ms: Some(30),
            attempts: 1,
            request_bytes: 300,
            response_bytes: 9_000,
            client_ip: "::1".into(),
            user_agent: Some("curl".into()),
        }
    }

    #[test]
    fn records_come_back_as_they_were_gathered() {
        let all: Vec<Record> = (0..5).map(record).collect();
        let records = Records::from(all.as_slice());
        assert_eq!(records.iter().map(|one| Record::from(&one)).collect::<Vec<_>>(), all);
        assert_eq!(records.get(4).map(|one| Record::from(&one)), Some(record(4)));
        assert!(records.get(5).is_none());
    }

    #[test]
    fn a_part_of_a_part_is_where_it_says_and_never_beyond_the_end() {
        let records = Records::from((0..9).map(record).collect::<Vec<_>>().as_slice());
        let part = records.part(2..8).part(1..3);
        let ids: Vec<_> = part.iter().map(|one| one.request_id.to_owned()).collect();
        assert_eq!((ids, part.len()), (vec!["r-3".to_owned(), "r-4".into()], 2));
        assert!(records.part(9..20).is_empty() && records.part(20..30).is_empty());
        assert_eq!(records.part(7..30).len(), 2);
        assert!(Records::default().is_empty() && Records::default().get(0).is_none());
    }
}
