//! Measures one exchange: what stands outside of all filters and is told of the end last.

use std::{sync::Arc, time::Duration};

use vllm_gateway_sdk::{Error, Facts, Head, Outcome, ResponseFilter};

use super::{metrics, series::Series};
use crate::gateway::{Drain, Running};

/// Measures one exchange.
pub(crate) struct Measure {
    /// Found when an upstream is about to be called, and held from then on.
    series: Option<&'static Series>,
    /// None of a copy: nobody waits for it.
    _running: Option<Running>,
}

impl Measure {
    pub(crate) fn new(drain: &Arc<Drain>) -> Self {
        Self { series: None, _running: Some(drain.enter()) }
    }
}

impl ResponseFilter for Measure {
    fn before_upstream(&mut self, facts: &Facts) -> Result<(), Error> {
        let series = series_of(facts);
        series.model.in_flight.inc();
        self.series = Some(series);
        Ok(())
    }

    fn on_mirror(&self, _copy: &Facts) -> Result<Option<Box<dyn ResponseFilter>>, Error> {
        Ok(Some(Box::new(Self { series: None, _running: None })))
    }

    /// vLLM sends the head long before the first token, so here the gateway's own time ends.
    fn on_head(&mut self, _: &mut Head, facts: &Facts) {
        if let Some(series) = &self.series {
            let waited = facts.upstream_wait() + facts.body_wait();
            series.pipeline.overhead.observe(facts.elapsed().saturating_sub(waited));
        }
    }

    fn on_complete(self: Box<Self>, facts: &Facts, outcome: Outcome) {
        let status = facts.status().map_or(499, |status| status.as_u16());
        let elapsed = facts.elapsed();
        let Some(series) = &self.series else {
            let series = series_of(facts);
            series.requests.of((outcome, status)).inc();
            series.duration.observe(elapsed);
            return;
        };
        series.requests.of((outcome, status)).inc();
        series.duration.observe(elapsed);
        let model = &series.model;
        model.in_flight.dec();
        let usage = facts.tokens().usage;
        let completion = usage.completion.unwrap_or_default();
        model.prompt_tokens.add(usage.prompt.unwrap_or_default());
        model.completion_tokens.add(completion);
        // What breaks before a token came shows the client an error: no token, however soon it came.
        let came = completion > 0 || outcome == Outcome::Finished;
        if let Some(first) = facts.time_to_first_byte().filter(|_| facts.stream() && came) {
            model.first_token.observe(first);
            if let Some(gap) = per_token(elapsed.saturating_sub(first), completion) {
                model.per_token.observe(gap);
            }
        }
    }
}

/// Only models that were routed are named: what a client makes up must not grow the metrics. What was mirrored has a
/// model of its own, since tokens and times are told by model alone.
fn series_of(facts: &Facts) -> &'static Series {
    let pipeline = facts.pipeline().unwrap_or_default();
    let model = facts.target().and(facts.model()).unwrap_or_default();
    if facts.is_mirrored() {
        return metrics().series(pipeline, &format!("mirror of {model}"));
    }
    metrics().series(pipeline, model)
}

fn per_token(streaming: Duration, tokens: u64) -> Option<Duration> {
    let gaps = u32::try_from(tokens.checked_sub(1)?).ok()?;
    streaming.checked_div(gaps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_one_token_has_no_time_between_tokens() {
        let second = Duration::from_secs(1);
        assert_eq!(per_token(second, 0), None);
        assert_eq!(per_token(second, 1), None);
        assert_eq!(per_token(second, 3), Some(second / 2));
    }
}
