//! What one run says of a policy.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use crate::{
    fleet::Mishap,
    machine::Busy,
    outcome::{Ended, Outcome},
    trace::Trace,
};

/// Within this time of a death, a stream that breaks has died with its server.
const DYING: Duration = Duration::from_secs(1);

/// Counters at one moment.
pub(crate) struct Sample {
    pub(crate) tokens: u64,
    /// Tokens of prompts, looked up in prefix caches and found there.
    pub(crate) cache: (usize, usize),
    pub(crate) shares: Vec<usize>,
}

/// The figures of one run; times in milliseconds.
#[derive(Clone)]
pub(crate) struct Figures {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Requests finished per second.
    pub(crate) finished: f64,
    /// Tokens that reached clients per second.
    pub(crate) tokens: f64,
    /// Which part of the prompts' tokens was found in prefix caches.
    pub(crate) hits: f64,
    /// Requests that failed without need, by what they were told.
    pub(crate) failed: BTreeMap<String, usize>,
    /// Those that ran on the server when it died: with a token at their client already, and without one.
    pub(crate) died: (usize, usize),
    /// Which part of the requests each server was given.
    pub(crate) shares: Vec<f64>,
    /// Of the requests that arrived in the second third.
    pub(crate) middle_p99: f64,
    /// Tokens per second in the second third.
    pub(crate) middle_tokens: f64,
    /// Which part of the machine's processors was busy with this.
    pub(crate) busy: Busy,
}

impl Figures {
    /// Four samples: at the start of what is measured and after each third.
    pub(crate) fn of(trace: &Trace, outcomes: &[Outcome], samples: &[Sample], busy: Busy) -> Self {
        let [start, first, second, end] = trace.edges();
        let waited = |from: Duration, to: Duration| {
            let arrived = outcomes.iter().filter(|outcome| (from..to).contains(&outcome.at));
            let mut waited: Vec<Duration> = arrived.filter_map(Outcome::waited).collect();
            waited.sort_unstable();
            waited
        };
        let (all, middle) = (waited(start, end), waited(first, second));
        let finished = outcomes
            .iter()
            .filter(|outcome| outcome.ended == Ended::Finished && (start..end).contains(&outcome.end));
        let tokens = |from: usize, to: usize| (samples[to].tokens - samples[from].tokens) as f64;
        let cache = |of: fn(&Sample) -> usize| (of(&samples[3]) - of(&samples[0])) as f64;
        let given: Vec<f64> = samples[3]
            .shares
            .iter()
            .zip(&samples[0].shares)
            .map(|(end, start)| (end - start) as f64)
            .collect();
        let sum = given.iter().sum::<f64>().max(1.0);
        let death = (trace.kind.mishap() == Some(Mishap::Dead)).then_some(first);
        let (failed, died) = failures(outcomes, death);
        Self {
            p50: percentile(&all, 0.50),
            p99: percentile(&all, 0.99),
            finished: finished.count() as f64 / trace.measured.as_secs_f64(),
            tokens: tokens(0, 3) / trace.measured.as_secs_f64(),
            hits: cache(|sample| sample.cache.1) / cache(|sample| sample.cache.0).max(1.0),
            failed,
            died,
            shares: given.iter().map(|given| given / sum).collect(),
            middle_p99: percentile(&middle, 0.99),
            middle_tokens: tokens(1, 2) / second.saturating_sub(first).as_secs_f64(),
            busy,
        }
    }

    pub(crate) fn failures(&self) -> usize {
        self.failed.values().sum()
    }

    /// Shows at once how a run went.
    pub(crate) fn line(&self) -> String {
        let mut line = format!(
            "p50 {:.0} ms, p99 {:.0} ms, {:.1} finished a second, {:.0} % found, {} failed, processors {:.0} % busy ({:.0} % with all)",
            self.p50,
            self.p99,
            self.finished,
            self.hits * 100.0,
            self.failures(),
            self.busy.ours * 100.0,
            self.busy.all * 100.0
        );
        if self.died != (0, 0) {
            let _ = write!(line, ", {} + {} broke with their server", self.died.0, self.died.1);
        }
        line
    }
}

/// What failed without need, and what broke with the server that died.
fn failures(outcomes: &[Outcome], death: Option<Duration>) -> (BTreeMap<String, usize>, (usize, usize)) {
    let (mut failed, mut died) = (BTreeMap::new(), (0, 0));
    for outcome in outcomes {
        let why = match &outcome.ended {
            Ended::Finished => continue,
            Ended::Broke(_)
                if death.is_some_and(|death| {
                    outcome.at < death && (death..death + DYING).contains(&outcome.end)
                }) =>
            {
                if outcome.first.is_some() {
                    died.0 += 1;
                } else {
                    died.1 += 1;
                }
                continue;
            }
            Ended::Refused(why) => why.clone(),
            Ended::Broke(why) => format!("broke: {why}"),
            Ended::Unfinished => "no end".to_owned(),
        };
        *failed.entry(why).or_default() += 1;
    }
    (failed, died)
}

/// In milliseconds; of a sorted list.
fn percentile(sorted: &[Duration], part: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    sorted[(last as f64 * part).round() as usize].as_secs_f64() * 1000.0
}
