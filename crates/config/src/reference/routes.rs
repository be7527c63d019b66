//! `docs/routes.md`: what may be called, from the table that the gateway itself goes by.

use std::fmt::Write as _;

use vllm_gateway_sdk::{Answer, Api, Generates, ModelPlace, Route, routes as all};

const ROUTES: &str = "\
<!-- Generated from the table of routes of the code; a test compares. -->
# Routes

What clients may call, on the port of `[server]`. The paths are vLLM's own and are compared byte by byte; what is not
here does not reach vLLM and gets 404: its administration routes, `/v1/realtime`, `/v1/responses/{id}`. `GET /health` and
`GET /ready` are the gateway's, for whoever runs it, without a key and without a record.

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
