//! The events of a chat stream.

use super::super::Cx;
use super::super::generate::{Choice, Delta, Dialect, Job, Usage, put_metrics};
use super::answer::{finish_reason, put_ids, put_logprobs};
use super::parse::{Chat, Shape};
use crate::engine::Run;
use crate::http1::{Interrupt, Wire};
use crate::json::Json;

/// Chat's spelling.
pub(crate) struct ChatEvents {
    /// What every event begins with.
    prefix: String,
    shape: Shape,
    /// Which choices have named their tool already.
    named: Vec<bool>,
}

impl ChatEvents {
    pub(crate) fn new(_: &Cx<'_>, chat: &Chat) -> Self {
        let job = &chat.job;
        let prefix = Json::new()
            .raw(r#"data: {"id":"#)
            .text(&job.id)
            .raw(r#","object":"chat.completion.chunk","created":"#)
            .number(job.created)
            .raw(r#","model":"#)
            .text(&job.model)
            .raw(r#","choices":["#)
            .into_bytes();
        let prefix = String::from_utf8_lossy(&prefix).into_owned();
        let choices = job.prompts.len() * job.n;
        Self { prefix, shape: chat.shape.clone(), named: vec![false; choices] }
    }

    fn put_call(
        &mut self,
        cx: &Cx<'_>,
        job: &Job,
        choice: &Choice,
        wire: &mut Wire<'_>,
    ) -> Result<(), Interrupt> {
        let Some(call) = &self.shape.call else { return Ok(()) };
        match self.named.get_mut(choice.index) {
            Some(named) if !*named => *named = true,
            _ => return Ok(()),
        }
        wire.event(|json| {
            json.put(&self.prefix).put(r#"{"index":"#).put_number(choice.index);
            json.put(r#","delta":{"content":null,"tool_calls":[{"id":"chatcmpl-tool-"#)
                .put(&cx.shared.new_id());
            json.put(r#"","type":"function","index":0,"function":{"name":"#).put_text(&call.name);
            json.put(r#"}}]},"logprobs":null,"finish_reason":null,"token_ids":null}]"#);
            put_usage(json, job, choice);
            json.put("}\n\n");
        })
    }
}

fn put_usage(json: &mut Json, job: &Job, choice: &Choice) {
    if job.usage == Usage::Continuous {
        json.put(",");
        job.put_running_usage(json, choice, true);
    }
}

impl Dialect for ChatEvents {
    fn open(
        &mut self,
        _: &Cx<'_>,
        job: &Job,
        choices: &[Choice],
        wire: &mut Wire<'_>,
    ) -> Result<(), Interrupt> {
        for choice in choices {
            wire.event(|json| {
                json.put(&self.prefix).put(r#"{"index":"#).put_number(choice.index);
                json.put(
                    r#","delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]"#,
                );
                put_usage(json, job, choice);
                json.put(r#","prompt_token_ids":"#);
                put_ids(
                    json,
                    job.token_ids.then(|| job.prompts.first().map_or(&[][..], |prompt| &prompt.tokens)),
                );
                json.put(",\"prompt_text\":null}\n\n");
            })?;
            if !self.shape.echo.is_empty() {
                wire.event(|json| {
                    json.put(&self.prefix).put(r#"{"index":"#).put_number(choice.index);
                    json.put(r#","delta":{"content":"#).put_text(&self.shape.echo);
                    json.put(r#"},"logprobs":null,"finish_reason":null}]"#);
                    put_usage(json, job, choice);
                    json.put("}\n\n");
                })?;
            }
        }
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
        self.put_call(cx, job, choice, wire)?;
        let called = self.shape.call.is_some();
        // Arguments do not come with the end: the end is an event of its own (a08c).
        if called && choice.finish.is_some() && !delta.text.is_empty() {
            wire.event(|json| self.put_delta(cx, json, job, choice, delta, false))?;
            return wire.event(|json| self.put_delta(cx, json, job, choice, &Delta::default(), true));
        }
        wire.event(|json| self.put_delta(cx, json, job, choice, delta, choice.finish.is_some()))
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
                job.put_last_usage(json, cx, choices, true);
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

impl ChatEvents {
    fn put_delta(&self, cx: &Cx<'_>, json: &mut Json, job: &Job, choice: &Choice, delta: &Delta, last: bool) {
        let finish = choice.finish.as_ref().filter(|_| last);
        json.put(&self.prefix).put(r#"{"index":"#).put_number(choice.index).put(r#","delta":{"#);
        if !delta.text.is_empty() {
            if self.shape.call.is_some() {
                json.put(r#""content":null,"tool_calls":[{"index":0,"function":{"arguments":"#);
                json.put_text(&delta.text).put("}}]");
            } else {
                json.put(if delta.reasoning { r#""reasoning":"# } else { r#""content":"# })
                    .put_text(&delta.text);
            }
        }
        json.put(r#"},"logprobs":"#);
        match job.logprobs.filter(|_| !delta.ids.is_empty()) {
            Some(top) => put_logprobs(json, &delta.ids, top),
            None => {
                json.put("null");
            }
        }
        match finish {
            Some(finish) => {
                json.put(r#","finish_reason":"#).put_text(finish_reason(finish.reason, &self.shape));
                json.put(r#","stop_reason":"#).put_maybe(finish.stop.as_deref());
            }
            None => {
                json.put(r#","finish_reason":null"#);
            }
        }
        json.put(r#","token_ids":"#);
        put_ids(json, job.token_ids.then_some(&delta.ids));
        json.put("}]");
        put_usage(json, job, choice);
        // The fingerprint is on the last event there is, and every choice's end may be that one (a06c).
        if finish.is_some() && job.usage == Usage::None {
            json.put(r#","system_fingerprint":"#).put_text(&cx.shared.fingerprint);
        }
        json.put("}\n\n");
    }
}
