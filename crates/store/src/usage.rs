//! Usage: the question, the answer, and the sums in between that both stores share.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vllm_gateway_record::{Outcome, Record};

use crate::{StoreError, times};

/// How usage is cut in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interval {
    /// By the hour.
    Hour,
    /// By the day (UTC).
    Day,
}

impl Interval {
    // An answer must fit into memory, whatever was asked.
    const fn longest_hours(self) -> i64 {
        match self {
            Self::Hour => 100 * 24,
            Self::Day => 10 * 366 * 24,
        }
    }
}

/// Which usage is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// From the hour (UTC) that holds this time.
    pub from: Timestamp,
    /// To the end of the hour that this time is in, unless it is the start of one.
    pub to: Timestamp,
    /// One row for each app.
    pub group_by_app: bool,
    /// One row for each model.
    pub group_by_model: bool,
    /// One row for each hour (100 days at most) or day (10 years at most); `None`: the whole span.
    pub interval: Option<Interval>,
}

/// What was used in one group. It serialises as `/api/usage` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageRow {
    /// Where the hour, the day or the whole span starts.
    pub start: Timestamp,
    /// The app, when grouped by app; absent for requests without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// The newest name of that app in the row's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org_name: Option<String>,
    /// The model that was asked for, when grouped by model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How many requests.
    pub requests: u64,
    /// How many of them ended with a status of 400 or more, or otherwise than `finished` or `replied`.
    pub errors: u64,
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub completion_tokens: u64,
    /// Both together: the sum of their `totalTokens`, and of what is known of prompt and completion where a record has
    /// none.
    pub total_tokens: u64,
}

impl UsageQuery {
    /// The whole hours that are asked for.
    pub(crate) fn span(&self) -> Result<Span, StoreError> {
        let first = times::micros(self.from).div_euclid(times::MICROS_PER_HOUR);
        let end = (times::micros_up(self.to) + times::MICROS_PER_HOUR - 1).div_euclid(times::MICROS_PER_HOUR);
        if self.from >= self.to {
            return Err(StoreError::invalid(format!(
                "usage from {} to {}: `from` must be earlier",
                self.from, self.to
            )));
        }
        if let Some(interval) = self.interval
            && end - first > interval.longest_hours()
        {
            let days = interval.longest_hours() / 24;
            return Err(StoreError::invalid(
                format!("usage by {interval:?} covers {days} days at most").to_lowercase(),
            ));
        }
        Ok(Span { first, end })
    }
}

/// Whole hours since 1970: `first` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: i64,
    pub(crate) end: i64,
}

/// How long one step is, in hours: 0 for the whole span.
pub(crate) const fn step_hours(interval: Option<Interval>) -> i64 {
    match interval {
        Some(Interval::Hour) => 1,
        Some(Interval::Day) => 24,
        None => 0,
    }
}

/// The hour of a record, counted since 1970.
pub(crate) fn hour_of(record: &Record) -> i64 {
    times::micros(record.time).div_euclid(times::MICROS_PER_HOUR)
}

/// Whether a record counts as an error.
pub(crate) fn is_error(status: u16, outcome: Outcome) -> bool {
    status >= 400 || !SOUND.contains(&outcome)
}

/// The outcomes that are no errors by themselves.
pub(crate) const SOUND: [Outcome; 2] = [Outcome::Finished, Outcome::Replied];

/// Sums of one group. Counts of one record are at most 2^40 (see `check`), so sums stay far inside of 64
/// bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: i64,
    pub(crate) errors: i64,
    pub(crate) prompt: i64,
    pub(crate) completion: i64,
    pub(crate) total: i64,
}

impl Counts {
    pub(crate) fn of<S>(record: &Record<S>) -> Self {
        let tokens = |count: Option<u64>| i64::try_from(count.unwrap_or(0)).unwrap_or(i64::MAX);
        Self {
            requests: 1,
            errors: i64::from(is_error(record.status, record.outcome)),
            prompt: tokens(record.prompt_tokens),
            completion: tokens(record.completion_tokens),
            // A request that ended before its time may be known by one of the two alone, and has that in the sum, too.
            total: record.total_tokens.map_or(
                tokens(record.prompt_tokens).saturating_add(tokens(record.completion_tokens)),
                |total| tokens(Some(total)),
            ),
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.errors = self.errors.saturating_add(other.errors);
        self.prompt = self.prompt.saturating_add(other.prompt);
        self.completion = self.completion.saturating_add(other.completion);
        self.total = self.total.saturating_add(other.total);
    }
}

/// Whose usage it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Group<S = String> {
    pub(crate) app_id: Option<S>,
    pub(crate) org_name: Option<S>,
    pub(crate) model: Option<S>,
}

/// Sums of a group as a store gives them, at most cut finer than was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    /// An hour of the step that is summed: the newest in which the group was seen.
    pub(crate) hour: i64,
    pub(crate) group: Group,
    pub(crate) counts: Counts,
}

/// What a row is about: its start, the app and the model.
type Key = (i64, Option<String>, Option<String>);

/// What is summed up of it, and the app's name with the hour it was seen in.
type Sum = (Counts, (i64, Option<String>));

/// Puts the tallies together to the rows that were asked for, ordered by start, app and model.
pub(crate) fn rows(query: &UsageQuery, span: Span, tallies: Vec<Tally>) -> Result<Vec<UsageRow>, StoreError> {
    let step = step_hours(query.interval);
    let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
    for Tally { hour, group, counts } in tallies {
        let start = if step == 0 { span.first } else { hour.div_euclid(step) * step };
        let app_id = group.app_id.filter(|_| query.group_by_app);
        let model = group.model.filter(|_| query.group_by_model);
        let (sum, name) = sums.entry((start, app_id, model)).or_insert((Counts::default(), (i64::MIN, None)));
        sum.add(counts);
        // The newest name counts; of two in one hour, the later in the alphabet: the same on every store.
        if group.org_name.is_some() && (hour, &group.org_name) > (name.0, &name.1) {
            *name = (hour, group.org_name);
        }
    }
    sums.into_iter()
        .map(|((start, app_id, model), (sum, (_, name)))| {
            Ok(UsageRow {
                start: times::from_micros(start.saturating_mul(times::MICROS_PER_HOUR))?,
                org_name: name.filter(|_| app_id.is_some()),
                app_id,
                model,
                requests: unsigned(sum.requests)?,
                errors: unsigned(sum.errors)?,
                prompt_tokens: unsigned(sum.prompt)?,
                completion_tokens: unsigned(sum.completion)?,
                total_tokens: unsigned(sum.total)?,
            })
        })
        .collect()
}

fn unsigned(sum: i64) -> Result<u64, StoreError> {
    u64::try_from(sum)
        .map_err(|_| StoreError::internal(format!("the store holds a negative sum of usage ({sum})")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn query(from: &str, to: &str, interval: Option<Interval>) -> UsageQuery {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        UsageQuery { from, to, group_by_app: true, group_by_model: false, interval }
    }

    fn tally(hour: i64, name: &str) -> Tally {
        let group = Group { app_id: Some("a".into()), org_name: Some(name.into()), model: Some("m".into()) };
        Tally { hour, group, counts: Counts { requests: 1, ..Counts::default() } }
    }

    #[test]
    fn a_span_covers_whole_hours() {
        let span = query("1970-01-01T01:59:59Z", "1970-01-01T03:00:00.000001Z", None).span().unwrap();
        assert_eq!(span, Span { first: 1, end: 4 });
        let span = query("1970-01-01T01:00:00Z", "1970-01-01T03:00:00Z", None).span().unwrap();
        assert_eq!(span, Span { first: 1, end: 3 });
    }

    #[test]
    fn a_span_that_ends_before_it_starts_or_is_endless_is_refused() {
        assert!(query("1970-01-02T00:00:00Z", "1970-01-01T00:00:00Z", None).span().is_err());
        assert!(query("2000-01-01T00:00:00Z", "2001-01-01T00:00:00Z", Some(Interval::Hour)).span().is_err());
        assert!(query("2000-01-01T00:00:00Z", "2001-01-01T00:00:00Z", Some(Interval::Day)).span().is_ok());
    }

    #[test]
    fn an_app_that_was_renamed_is_one_row_with_its_newest_name() {
        let asked = query("1970-01-01T00:00:00Z", "1970-01-03T00:00:00Z", Some(Interval::Day));
        let rows =
            rows(&asked, asked.span().unwrap(), vec![tally(5, "new"), tally(1, "zzz"), tally(30, "later")])
                .unwrap();
        let seen: Vec<_> = rows.iter().map(|row| (row.org_name.as_deref().unwrap(), row.requests)).collect();
        assert_eq!(seen, [("new", 2), ("later", 1)]);
        assert!(rows.iter().all(|row| row.model.is_none()));
    }
}
