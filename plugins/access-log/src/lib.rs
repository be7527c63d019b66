//! Writes one record of every request, however it ends.
//!
//! Stand it first: it sees what the filters after it refuse, and nothing of what those before it do.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use vllm_gateway_sdk::{
    BuildCx, BuildError, Bytes, DurationText, Error, Exchange, Facts, Filter, Flow, Head, Outcome, Plugin,
    RecordSink, ResponseFilter, Services, Ticket, Wants, async_trait,
};

/// Options of `access-log`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// How long records are kept, as in `"90d"`; without it, for ever. All pipelines write into one store: give
    /// every instance the same. Hourly usage outlives the records.
    retention: Option<DurationText>,
}

struct AccessLog {
    records: Arc<dyn RecordSink>,
    retention: Option<Duration>,
}

impl Plugin for AccessLog {
    const NAME: &'static str = "access-log";
    const SUMMARY: &'static str = "keeps one record of every request, however it ends";
    const OBSERVES: bool = true;
    const ONCE: bool = true;
    const REJECTS: &'static [u16] = &[503];
    const EXAMPLE: &'static str = "retention = \"90d\"";
    type Options = Options;

    fn build(options: Options, cx: &BuildCx<'_>) -> Result<Self, BuildError> {
        Ok(Self { records: cx.records(), retention: options.retention.map(DurationText::get) })
    }
}

#[async_trait]
impl Filter for AccessLog {
    async fn on_request(&self, _ex: &mut Exchange) -> Result<Flow, Error> {
        // Room is taken now: a record that finds none at the end would be lost.
        let ticket = self.records.ticket().await?;
        Ok(Flow::Watch(Box::new(Entry { ticket, opened: None })))
    }

    fn on_start(&self, services: &Services) {
        services.records.keep_for(self.retention);
    }
}

/// The record to be of one exchange.
struct Entry {
    ticket: Ticket,
    /// An upstream was tried, and the record written for that: the first one, or which fallback.
    opened: Option<u32>,
}

impl ResponseFilter for Entry {
    fn on_mirror(&self, _copy: &Facts) -> Result<Option<Box<dyn ResponseFilter>>, Error> {
        // Rather not sent than unrecorded.
        let ticket = self.ticket.another()?;
        Ok(Some(Box::new(Self { ticket, opened: None })))
    }

    fn on_attempt(&mut self, facts: &Facts) {
        if self.opened == Some(facts.fallbacks()) {
            self.ticket.checkpoint(facts);
        } else {
            // Another upstream and another model: that is more than a checkpoint tells.
            self.ticket.open(facts);
            self.opened = Some(facts.fallbacks());
        }
    }

    fn on_head(&mut self, _head: &mut Head, facts: &Facts) {
        self.ticket.checkpoint(facts);
    }

    fn wants(&self) -> Wants {
        Wants::Chunks
    }

    fn on_chunk(&mut self, _chunk: &mut Bytes, facts: &Facts) {
        // An answer that is no stream says at its end what it cost; until then there is nothing to write.
        if facts.stream() {
            self.ticket.checkpoint(facts);
        }
    }

    fn on_last(&mut self, facts: &Facts, outcome: Outcome) {
        self.ticket.close(facts, outcome);
    }

    fn on_complete(mut self: Box<Self>, facts: &Facts, outcome: Outcome) {
        // Where nothing went out at the end, there was no last moment before.
        self.ticket.close(facts, outcome);
    }
}

vllm_gateway_sdk::register!(AccessLog);
