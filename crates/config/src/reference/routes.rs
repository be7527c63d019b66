//! `docs/routes.md`: what may be called, from the table that the gateway itself goes by.

use std::fmt::Write as _;

use vllm_gateway_sdk::{Answer, Api, Generates, ModelPlace, Route, routes as all};

const ROUTES: &str = "\
<!-- Generated from the table of routes of the code; a test compares. -->
# Routes

What clients may call, on the port of `[server]`. The paths are vLLM's own and are compared byte by byte; what is not
here does not reach vLLM and gets 404: its administration routes, `/v1/realtime`. `GET /health` and `GET /ready` are the
gateway's, for whoever runs it, without a key and without a record.

**Which pipeline serves a route** is said by `routes` of `[pipelines.NAME]`: paths as they stand here, or prefixes like
`\"/v1/audio/*\"`; the longest that fits wins, an exact path over all, and a pipeline without `routes` serves what no
other does. `vllm-gateway check` draws which that is. Its NAME is the `pipeline` in [records and
metrics](records-and-metrics.md).

**What is counted** are tokens, for records, usage and metrics. Where vLLM tells none, the counts are null and
`tokenSource` is `none`; what happens to a request that ends before its time is in [reliability](reliability.md#tokens).

| Route | Model named by | Counted | How much is generated is bounded by | Errors |
| --- | --- | --- | --- | --- |
";

const NOTES: &str = "
- **usage**: what vLLM reports of the whole answer. A stream that ends before its time counts as far as vLLM had told:
  the gateway asks it to tell with every event (`partial`).
- **usage, events**: the same at the end; before it vLLM does not say how much it has generated,
  and events with text are counted (`estimated`).
- **usage of the answer**: never a stream. What vLLM reports, where it does: an answer without `usage` counts nothing.
- A request that names no model is refused, or goes to `default_model`: [plugins](plugins.md#model-route).
- `cost-caps` bounds what the fourth column names: [plugins](plugins.md#cost-caps).
- `GET /v1/models` lists what this app may use of the models that the pipeline routes, with what vLLM says of them.

## Responses that vLLM keeps

vLLM keeps responses where `VLLM_ENABLE_RESPONSES_API_STORE=1` is set, in the memory of the server that made them, and gives
them to whoever knows the id. The gateway remembers of each answer with 200 of `POST /v1/responses`, streamed or not, which
app asked for it and which server made it, before the client has read the id, and whether or not it is kept there:

- `GET /v1/responses/{id}` and `POST /v1/responses/{id}/cancel` go to that server and no other, once. A body is neither read
  nor sent on; of the query `stream` and `starting_after` are, which is all that vLLM knows. Nothing is counted again.
- A request with `previous_response_id` goes there, too. Where the server has no room (`max_concurrent_per_endpoint`) it
  waits for as long as it might in the line (`queue`), but beside it: as many as may stand in that. There is no other fallback
  than the one that has made the response, and no second try.
- **To every app but its own a response is unknown**: 404, `type` is `invalid_request_error`, `param` is `response_id` and
  `code` is the number 404, as vLLM says it of an id that it does not have; vLLM is not asked. The same gets an id that the
  gateway does not know, also as `previous_response_id`: vLLM may have it, and it may be anybody's. The record says
  `response_not_found`.
- An app that may not use the model any more gets 403 `model_not_allowed`.
- A drained server is asked for what it has, and generates nothing more: 503. Where the server is listed no longer, its
  responses are unknown; where it cannot be reached, 503.
- An id has up to 256 letters, digits, `_` and `-`; any other path is no route. Ids that a client chose itself, by
  `request_id` in the body, are not remembered, and one that is another app's response already is refused with 400.
- **What is remembered is this process's own**: 100,000 responses, the oldest go first, each for seven days at most. It
  outlives reloads and ends with the gateway; another gateway knows nothing of it. Clients that ask for responses have to come
  back to the same gateway.
- `DELETE /v1/responses/{id}` and `/input_items` are OpenAI's; vLLM 0.32 has no such routes.
";

/// The text of `docs/routes.md`.
#[must_use]
pub fn routes() -> String {
    let mut text = ROUTES.to_owned();
    for route in all() {
        let cells = [
            format!("`{} {}`", route.allow(), route.path),
            model(route).to_owned(),
            counted(route).to_owned(),
            bounded(route).to_owned(),
            if route.api == Api::Anthropic { "Anthropic's" } else { "OpenAI's" }.to_owned(),
        ];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text.push_str(NOTES);
    text
}

fn model(route: &Route) -> &'static str {
    if route.answer == Answer::Stored {
        return "the response";
    }
    match route.model {
        ModelPlace::Json => "`model` in the JSON",
        ModelPlace::Form => "`model` in the form",
        ModelPlace::None => "",
    }
}

fn counted(route: &Route) -> &'static str {
    match route.answer {
        Answer::Completion => "usage",
        Answer::Responses | Answer::Messages => "usage, events",
        Answer::Unary => "usage of the answer",
        Answer::Uncounted => "nothing",
        Answer::Stored => "nothing: it was when it was made",
        Answer::Models => "nothing: the gateway answers",
    }
}

fn bounded(route: &Route) -> &'static str {
    match route.generates {
        Generates::Chat => "`max_completion_tokens`, else `max_tokens`; `n`",
        Generates::Text => "`max_tokens`; `n`, `best_of`, prompts",
        Generates::Response => "`max_output_tokens`",
        Generates::Message => "`max_tokens`",
        Generates::Any => "all of these",
        Generates::Nothing => "",
    }
}
