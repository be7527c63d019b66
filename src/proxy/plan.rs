//! What is changed of a request on its way, and how its answer must be read for that reason.

use bytes::Bytes;
use vllm_gateway_sdk::{Answer, RequestBody, Route};
use vllm_gateway_wire::{
    edit::{self, Edits},
    multipart,
    peek::{Choices, Member, Peeked},
    sse::Hide,
};

/// What is sent, and how the answer is read.
pub(super) struct Plan {
    pub(super) segments: Vec<Bytes>,
    pub(super) hide: Hide,
    pub(super) several: bool,
}

impl Plan {
    /// `model` is the name to send instead of the client's; `forced` says that the server reports usage unasked.
    pub(super) fn new(body: &RequestBody, route: &Route, model: Option<&str>, forced: bool) -> Self {
        let (edits, hide, several) = match (body.json(), body.form()) {
            (Some(json), _) => {
                let rename = model.map_or_else(Edits::none, |model| edit::rename_model(json, model));
                let (ask, hide) = if forced || !reports_usage(route, json) {
                    (Edits::none(), Hide::Nothing)
                } else {
                    asking(edit::ask_for_usage(json), json.wants_usage(), json.wants_running_usage())
                };
                (rename.and(ask), hide, json.choices == Choices::Several)
            }
            (_, Some(form)) => {
                let rename = model.map_or_else(Edits::none, |model| multipart::rename_model(form, model));
                let (ask, hide) = if forced {
                    (Edits::none(), Hide::Nothing)
                } else {
                    asking(multipart::ask_for_usage(form), form.wants_usage(), form.wants_running_usage())
                };
                (rename.and(ask), hide, false)
            }
            (None, None) => (Edits::none(), Hide::Nothing, false),
        };
        let segments = if edits.is_empty() { body.segments().to_vec() } else { edits.apply(body.segments()) };
        Self { segments, hide, several }
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
    let hide = match (ask.is_empty(), wants_usage, wants_running) {
        (true, ..) | (_, _, true) => Hide::Nothing,
        (false, true, false) => Hide::Running,
        (false, false, false) => Hide::All,
    };
    (ask, hide)
}
