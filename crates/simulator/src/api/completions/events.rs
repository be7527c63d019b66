//! The events of a completion stream.

use super::super::Cx;
use super::super::chat::put_ids;
use super::super::generate::{Choice, Delta, Dialect, Job, Usage, put_metrics};
use super::Shape;
use super::answer::put_logprobs;
use crate::engine::Run;
use crate::http1::{Interrupt, Wire};
use crate::json::Json;

/// Completions' spelling.
pub(crate) struct CompletionEvents {
    prefix: String,
    shape: Shape,
    /// How many characters each choice has so far.
    offsets: Vec<usize>,
}

impl CompletionEvents {
    pub(crate) fn new(job: &Job, shape: Shape) -> Self {
        let prefix = Json::new()
            .raw(r#"data: {"id":"#)
            .text(&job.id)
            .raw(r#","object":"text_completion","created":"#)
            .number(job.created)
            .raw(r#","model":"#)
            .text(&job.model)
            .raw(r#","choices":["#)
            .into_bytes();
        let choices = job.prompts.len() * job.n;
        Self { prefix: String::from_utf8_lossy(&prefix).into_owned(), shape, offsets: vec![0; choices] }
    }
}

impl Dialect for CompletionEvents {
    fn open(&mut self, _: &Cx<'_>, _: &Job, _: &[Choice], _: &mut Wire<'_>) -> Result<(), Interrupt> {
        Ok(())
    }

    fn tell(
        &mut self,
        cx: &Cx<'_>,
        job: &Job,
        choice: &Choice,
        delta: &Delta,
        wire: &mut Wire<'_>,
    ) -> Result<(), Interrupt> {
        let finish = choice.finish.as_ref();
        let prompt = job.prompts.get(choice.prompt);
        let first = choice.tokens == delta.tokens;
        let echo = prompt.filter(|_| self.shape.echo && first).map_or("", |prompt| &prompt.text);
        let own = if self.shape.score_only { "" } else { &delta.text };
        let offset = self.offsets.get(choice.index).copied().unwrap_or(0);
        if let Some(offset) = self.offsets.get_mut(choice.index) {
            *offset += echo.chars().count() + own.chars().count();
        }
        wire.event(|json| {
            json.put(&self.prefix).put(r#"{"index":"#).put_number(choice.index);
            json.put(r#","text":""#).put_escaped(echo).put_escaped(own);
            json.put(r#"","logprobs":"#);
            match job.logprobs.filter(|_| !delta.ids.is_empty()) {
                Some(top) => put_logprobs(json, &delta.ids, offset, false, top),
                None => {
                    json.put("null");
                }
            }
            json.put(r#","finish_reason":"#).put_maybe(finish.map(|finish| finish.reason));
            json.put(r#","stop_reason":"#).put_maybe(finish.and_then(|finish| finish.stop.as_deref()));
            json.put(r#","prompt_token_ids":"#);
            put_ids(json, prompt.filter(|_| job.token_ids && first).map(|prompt| &prompt.tokens[..]));
            json.put(r#","token_ids":"#);
            put_ids(json, job.token_ids.then_some(&delta.ids));
            json.put("}]");
            if job.usage == Usage::Continuous {
                json.put(",");
                job.put_running_usage(json, choice, false);
            }
            if finish.is_some() && job.usage == Usage::None {
                json.put(r#","system_fingerprint":"#).put_text(&cx.shared.fingerprint);
            }
            json.put("}\n\n");
        })
    }

    fn close(
        &mut self,
        cx: &Cx<'_>,
        job: &Job,
        choices: &[Choice],
        run: &Run,
        wire: &mut Wire<'_>,
    ) -> Result<(), Interrupt> {
        if job.usage != Usage::None {
            wire.event(|json| {
                json.put(&self.prefix).put("],");
                job.put_last_usage(json, cx, choices, false);
                json.put(r#","system_fingerprint":"#).put_text(&cx.shared.fingerprint);
                if cx.shared.options.per_request_metrics {
                    json.put(r#","metrics":"#);
                    put_metrics(json, run, choices, false);
                }
                json.put("}\n\n");
            })?;
        }
        wire.event(|json| {
            json.put("data: [DONE]\n\n");
        })
    }
}
