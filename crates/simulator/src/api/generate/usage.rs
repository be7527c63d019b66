//! Who gets usage, and how it is spelled.

use serde_json::Value;

use super::super::Cx;
use super::super::request::JsonBody;
use super::{Choice, Job};
use crate::engine::Run;
use crate::json::{Json, truth};

/// How much usage a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    /// None.
    None,
    /// One event at the end.
    Last,
    /// In every event.
    Continuous,
}

impl Usage {
    /// As asked for: continuous counts only together with include (a05b), and the server may force both (b04).
    pub(crate) fn of(cx: &Cx<'_>, body: &JsonBody) -> Self {
        let asked = |name| {
            truth(body.get("stream_options").and_then(|options: &Value| options.get(name))).unwrap_or(false)
        };
        Self::from(cx, asked("include_usage"), asked("continuous_usage_stats"))
    }

    pub(crate) fn from(cx: &Cx<'_>, include: bool, continuous: bool) -> Self {
        if cx.shared.options.force_include_usage || (include && continuous) {
            Self::Continuous
        } else if include {
            Self::Last
        } else {
            Self::None
        }
    }
}

/// `"prompt_tokens":…,"total_tokens":…,"completion_tokens":…` in vLLM's order.
fn put_counts(json: &mut Json, prompt: usize, completion: usize) {
    json.put(r#""usage":{"prompt_tokens":"#).put_number(prompt);
    json.put(r#","total_tokens":"#).put_number(prompt + completion);
    json.put(r#","completion_tokens":"#).put_number(completion);
}

fn put_reasoning(json: &mut Json, job: &Job, tokens: usize) {
    match job.reasoning {
        Some(_) => json.put(r#"{"reasoning_tokens":"#).put_number(tokens).put("}"),
        None => json.put("null"),
    };
}

impl Job {
    /// The running usage of one choice. Chat names the details, completions do not.
    pub(crate) fn put_running_usage(&self, json: &mut Json, choice: &Choice, chat: bool) {
        let prompt = self.prompts.get(choice.prompt).map_or(0, |prompt| prompt.tokens.len());
        put_counts(json, prompt, choice.tokens);
        if chat {
            json.put(r#","completion_tokens_details":"#);
            put_reasoning(json, self, choice.reasoning_tokens);
        }
        json.put("}");
    }

    /// The sum, in a stream's last event: what is absent is left out.
    pub(crate) fn put_last_usage(&self, json: &mut Json, cx: &Cx<'_>, choices: &[Choice], chat: bool) {
        put_counts(json, self.prompt_tokens(), completion_tokens(choices));
        if cx.shared.options.prompt_tokens_details {
            json.put(r#","prompt_tokens_details":{"cached_tokens":"#).put_number(self.cache.cached);
            if chat {
                json.put(r#","created_cache_tokens":"#).put_number(self.cache.created);
            }
            json.put("}");
        }
        if chat && self.reasoning.is_some() {
            json.put(r#","completion_tokens_details":"#);
            put_reasoning(json, self, reasoning_tokens(choices));
        }
        json.put("}");
    }

    /// The sum, in an answer that is not streamed: what is absent is null.
    pub(crate) fn put_whole_usage(&self, json: &mut Json, cx: &Cx<'_>, choices: &[Choice], chat: bool) {
        put_counts(json, self.prompt_tokens(), completion_tokens(choices));
        json.put(r#","prompt_tokens_details":"#);
        if cx.shared.options.prompt_tokens_details {
            json.put(r#"{"cached_tokens":"#).put_number(self.cache.cached).put(r#","created_cache_tokens":"#);
            if chat {
                json.put_number(self.cache.created);
            } else {
                json.put("null");
            }
            json.put(r#","multimodal_tokens":null}"#);
        } else {
            json.put("null");
        }
        json.put(r#","completion_tokens_details":"#);
        if chat {
            put_reasoning(json, self, reasoning_tokens(choices));
        } else {
            json.put("null");
        }
        json.put("}");
    }
}

fn completion_tokens(choices: &[Choice]) -> usize {
    choices.iter().map(|choice| choice.tokens).sum()
}

fn reasoning_tokens(choices: &[Choice]) -> usize {
    choices.iter().map(|choice| choice.reasoning_tokens).sum()
}

/// `--enable-per-request-metrics`: how long it took.
pub(crate) fn put_metrics(json: &mut Json, run: &Run, choices: &[Choice], whole: bool) {
    let (queued, first, since) = run.times();
    let tokens = f64::from(u32::try_from(completion_tokens(choices)).unwrap_or(u32::MAX));
    json.put(r#"{"time_to_first_token_ms":"#).put_float(first);
    json.put(r#","generation_time_ms":"#).put_float(since);
    json.put(r#","queue_time_ms":"#).put_float(queued);
    json.put(r#","mean_itl_ms":"#).put_float(since / (tokens - 1.0).max(1.0));
    json.put(r#","tokens_per_second":"#).put_float(tokens * 1000.0 / (first + since).max(0.001));
    json.put(if whole { r#","speculative_decoding":null}"# } else { "}" });
}
