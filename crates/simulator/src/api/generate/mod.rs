//! Generating, for every route that does: the job, its choices, and the loops that pace them.

mod choice;
mod drive;
mod logprobs;
mod script;
mod usage;

pub(crate) use choice::{Choice, Delta, Finish};
pub(crate) use drive::{Dialect, complete, stream};
pub(crate) use logprobs::{logprob, put_bytes, rivals};
pub(crate) use script::{conforming, tool_arguments};
pub(crate) use usage::{Usage, put_metrics};

use crate::engine::CacheUse;
use crate::text::{hash, hash_more, tokenize};

use super::Cx;
use super::request::JsonBody;
use crate::json::{integer, listed};

/// One prompt of a request.
#[derive(Debug, Clone)]
pub(crate) struct Prompt {
    pub(crate) text: String,
    pub(crate) tokens: Vec<u32>,
}

impl Prompt {
    pub(crate) fn new(text: String) -> Self {
        Self { tokens: tokenize(&text), text }
    }
}

/// What all choices of a request have in common.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) created: usize,
    pub(crate) model: String,
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) n: usize,
    pub(crate) stream: bool,
    pub(crate) usage: Usage,
    pub(crate) limits: Limits,
    pub(crate) seed: u64,
    /// Fixed text instead of drawn words.
    pub(crate) script: Option<String>,
    /// How many tokens of each choice are reasoning, with a parser.
    pub(crate) reasoning: Option<usize>,
    /// How many rivals each token's logprob is listed with.
    pub(crate) logprobs: Option<usize>,
    pub(crate) token_ids: bool,
    pub(crate) cache: CacheUse,
}

/// When a choice ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    /// As asked for; the rest of the context counts as well.
    pub(crate) max_tokens: Option<usize>,
    pub(crate) min_tokens: usize,
    pub(crate) ignore_eos: bool,
    pub(crate) stop: Vec<String>,
    pub(crate) include_stop: bool,
}

impl Limits {
    /// Everything but `max_tokens`.
    pub(crate) fn of(body: &JsonBody) -> Self {
        Self {
            max_tokens: None,
            min_tokens: body.count("min_tokens").unwrap_or(0),
            ignore_eos: body.truth("ignore_eos"),
            stop: listed(body.get("stop")).into_iter().filter(|stop| !stop.is_empty()).collect(),
            include_stop: body.truth("include_stop_str_in_output"),
        }
    }
}

impl Job {
    /// A job for these prompts, the rest as plain as can be.
    pub(crate) fn new(cx: &Cx<'_>, id: String, model: String, body: &JsonBody, prompts: Vec<Prompt>) -> Self {
        let seed = integer(body.get("seed")).map_or(cx.shared.options.seed, |seed| hash(&seed.to_le_bytes()));
        Self {
            id,
            created: crate::shared::Shared::now(),
            model,
            prompts,
            n: body.count("n").unwrap_or(1).max(1),
            stream: body.truth("stream"),
            usage: Usage::of(cx, body),
            limits: Limits::of(body),
            seed,
            script: cx.shared.options.text.clone(),
            reasoning: None,
            logprobs: None,
            token_ids: body.truth("return_token_ids"),
            cache: CacheUse::default(),
        }
    }

    pub(crate) fn prompt_tokens(&self) -> usize {
        self.prompts.iter().map(|prompt| prompt.tokens.len()).sum()
    }

    /// The choices, in the order of their numbers.
    pub(crate) fn choices(&self, cx: &Cx<'_>) -> Vec<Choice> {
        let options = &cx.shared.options;
        let mut choices = Vec::with_capacity(self.prompts.len() * self.n);
        for (number, prompt) in self.prompts.iter().enumerate() {
            for copy in 0..self.n {
                let seed = hash_more(hash_more(self.seed, &copy.to_le_bytes()), prompt.text.as_bytes());
                let room = options.max_model_len.saturating_sub(prompt.tokens.len()).max(1);
                let max = self.limits.max_tokens.map_or(room, |asked| asked.min(room));
                choices.push(Choice::new(choices.len(), number, seed, max, options.tokens, self));
            }
        }
        choices
    }
}

/// `PREFIX-` and the client's request id, or a new one (a22, a22c).
pub(crate) fn request_id(cx: &Cx<'_>, prefix: &str, body: Option<&JsonBody>) -> String {
    let from_body =
        || body.and_then(|body| body.get("request_id")).and_then(|id| id.as_str()).map(str::to_owned);
    let id = cx.head.header("x-request-id").map(str::to_owned).or_else(from_body);
    format!("{prefix}-{}", id.unwrap_or_else(|| cx.shared.new_id()))
}
