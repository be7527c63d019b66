//! What is changed of a request on its way, and how its answer must be read for that reason.

use std::time::Duration;

use bytes::Bytes;
use vllm_gateway_sdk::{Answer, Choices, Error, Exchange, RequestBody, Route};
use vllm_gateway_wire::{
    edit::{self, Edits},
    multipart,
    peek::{self, Member, Peeked},
    sse::Hide,
};

use crate::upstream::Upstream;

/// What is sent, and how the answer is read.
pub(super) struct Plan {
    pub(super) segments: Vec<Bytes>,
    /// Where it goes, if not to the route's own path: that of one response.
    pub(super) path: Option<String>,
    pub(super) hide: Hide,
    pub(super) choices: Choices,
    /// How long the answer may be silent, and how long the request may take as a whole.
    pub(super) gap: Duration,
    pub(super) total: Duration,
}

const ONE: Choices = Choices { several: false, n: 1 };

impl Plan {
    pub(super) fn new(ex: &Exchange, body: &RequestBody, upstream: &Upstream) -> Result<Self, Error> {
        // Whether the server reports usage unasked.
        let forced = upstream.forces_usage;
        // The name to send instead of the client's.
        let model = ex.facts().target().and_then(|target| target.model.as_deref());
        let (edits, hide, choices) = match (body.json(), body.form()) {
            (Some(json), _) => {
                let rename = model.map_or_else(Edits::none, |model| edit::rename_model(json, model));
                let changed = ex
                    .amounts()
                    .fold(rename, |edits, (amount, value)| edits.and(edit::set_amount(json, amount, value)));
                let (ask, hide) = if forced || !reports_usage(ex.route(), json) {
                    (Edits::none(), Hide::Nothing)
                } else {
                    asking(edit::ask_for_usage(json), json.wants_usage(), json.wants_running_usage())
                };
                let choices = Choices { several: json.choices == peek::Choices::Several, n: json.n };
                (changed.and(ask), hide, choices)
            }
            (_, Some(form)) => {
                let rename =
                    model.map_or_else(|| Ok(Edits::none()), |model| multipart::rename_model(form, model));
                let rename = rename.map_err(|error| {
                    tracing::error!(%error, "the model's name at the upstream does not fit into a form");
                    Error::internal()
                })?;
                let (ask, hide) = if forced {
                    (Edits::none(), Hide::Nothing)
                } else {
                    asking(multipart::ask_for_usage(form), form.wants_usage(), form.wants_running_usage())
                };
                (rename.and(ask), hide, ONE)
            }
            (None, None) => (Edits::none(), Hide::Nothing, ONE),
        };
        let segments = if edits.is_empty() { body.segments().to_vec() } else { edits.apply(body.segments()) };
        Ok(Self {
            segments,
            path: None,
            hide,
            choices,
            gap: upstream.gap_timeout,
            total: upstream.total_timeout,
        })
    }

    /// Nothing is sent but this path, and the answer is passed on as it is.
    pub(super) fn of_response(path: String, upstream: &Upstream) -> Self {
        Self {
            segments: Vec::new(),
            path: Some(path),
            hide: Hide::Nothing,
            choices: ONE,
            gap: upstream.gap_timeout,
            total: upstream.total_timeout,
        }
    }
}

/// Whether vLLM would report usage in a stream of this request, if asked.
fn reports_usage(route: &Route, json: &Peeked) -> bool {
    let generates = json.members.has(Member::Messages)
        || json.members.has(Member::Prompt)
        || json.members.has(Member::PromptEmbeds);
    route.answer == Answer::Completion && json.stream && generates
}

/// What the client will see that it did not ask for, and so must not see.
fn asking(ask: Edits, wants_usage: bool, wants_running: bool) -> (Edits, Hide) {
    let hide = if ask.is_empty() { Hide::Nothing } else { Hide::for_client(wants_usage, wants_running) };
    (ask, hide)
}
