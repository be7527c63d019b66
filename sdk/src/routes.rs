//! The routes that apps may use: the one table that says how each is treated.
//!
//! From the route list of vLLM 0.32 (its OpenAPI document and the routes it logs at start). What is not here is
//! not reachable: vLLM's administration routes and `/v1/realtime`.

use http::Method;
use vllm_gateway_wire::response_id::is_id;

use crate::Api;

/// How one route is treated.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// The exact path, at the client and at vLLM; `{id}` stands for any.
    pub path: &'static str,
    /// The one method that it takes.
    method: &'static str,
    /// Where the request names its model.
    pub model: ModelPlace,
    /// How its answer is read.
    pub answer: Answer,
    /// What its requests make vLLM generate, and so what they may cost.
    pub generates: Generates,
    /// Whose errors it speaks.
    pub api: Api,
    /// Whether a second try does no harm: nothing is kept of the first.
    pub stateless: bool,
}

/// Where a request names its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelPlace {
    /// In the member `model` of a JSON body.
    Json,
    /// In the form field `model`.
    Form,
    /// Nowhere: the gateway answers by itself, or the path names a response, whose model it knows.
    None,
}

/// How an answer is read for its usage and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Usage as OpenAI spells it; streams end with `data: [DONE]` and report usage when asked.
    Completion,
    /// Events of `/v1/responses`; the last is `response.completed`, `.failed` or `.incomplete`.
    Responses,
    /// Events of `/v1/messages`; the last is `message_stop`.
    Messages,
    /// Never a stream; may have usage.
    Unary,
    /// Nothing is generated, nothing is counted.
    Uncounted,
    /// A response that was made before: what it cost was counted then. Its events end as those that made it.
    Stored,
    /// The list of models, by the gateway.
    Models,
}

/// What is generated, and where a request says how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generates {
    /// An answer to each conversation: `max_completion_tokens`, else `max_tokens`, else the rest of the context.
    Chat,
    /// A continuation of each prompt: `max_tokens`, else 16; where that is null, the rest of the context.
    Text,
    /// A response, of `max_output_tokens`, else the rest of the context.
    Response,
    /// A message, of `max_tokens`, which must be there.
    Message,
    /// Whatever the body looks like.
    Any,
    /// Nothing, or nothing that a JSON body could bound: prompts are looked at all the same.
    Nothing,
}

impl Route {
    /// The methods that it takes, as in an `allow` header.
    #[must_use]
    pub const fn allow(&self) -> &'static str {
        self.method
    }

    /// Whether it takes this method.
    #[must_use]
    pub fn takes(&self, method: &Method) -> bool {
        method.as_str() == self.allow()
    }

    /// The route of this path, compared byte by byte.
    #[must_use]
    pub fn of_path(path: &str) -> Option<&'static Self> {
        ROUTES.iter().find(|route| route.path == path).or_else(|| {
            if let Some(id) = path.strip_prefix("/v1/models/") {
                return (!id.is_empty()).then_some(&ONE_MODEL);
            }
            let (_, route) = of_response(path)?;
            Some(route)
        })
    }

    /// Whether this is the route of a single model, whose id is the rest of the path.
    #[must_use]
    pub fn is_one_model(&self) -> bool {
        self.path == ONE_MODEL.path
    }

    /// The id of the response that this path names. It has no character that could mean anything in a path.
    #[must_use]
    pub fn response_id(path: &str) -> Option<&str> {
        of_response(path).map(|(id, _)| id)
    }
}

fn of_response(path: &str) -> Option<(&str, &'static Route)> {
    let rest = path.strip_prefix("/v1/responses/")?;
    let (id, route) = rest.strip_suffix("/cancel").map_or((rest, &ONE_RESPONSE), |id| (id, &CANCEL));
    is_id(id).then_some((id, route))
}

/// All routes.
pub fn routes() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().chain([&ONE_MODEL, &ONE_RESPONSE, &CANCEL])
}

const fn json(path: &'static str, answer: Answer) -> Route {
    Route {
        path,
        method: "POST",
        model: ModelPlace::Json,
        answer,
        generates: Generates::Nothing,
        api: Api::OpenAi,
        stateless: true,
    }
}

const fn generating(path: &'static str, answer: Answer, generates: Generates) -> Route {
    Route { generates, ..json(path, answer) }
}

const fn form(path: &'static str) -> Route {
    Route { model: ModelPlace::Form, ..json(path, Answer::Completion) }
}

const fn anthropic(path: &'static str, answer: Answer, generates: Generates) -> Route {
    Route { api: Api::Anthropic, ..generating(path, answer, generates) }
}

const fn models(path: &'static str) -> Route {
    Route { method: "GET", model: ModelPlace::None, ..json(path, Answer::Models) }
}

/// It is at one server only, so there is nobody else to be tried.
const fn stored(method: &'static str, path: &'static str) -> Route {
    Route { method, model: ModelPlace::None, stateless: false, ..json(path, Answer::Stored) }
}

/// The most used come first: the table is searched from the top.
static ROUTES: [Route; 23] = [
    generating("/v1/chat/completions", Answer::Completion, Generates::Chat),
    generating("/v1/completions", Answer::Completion, Generates::Text),
    json("/v1/embeddings", Answer::Unary),
    anthropic("/v1/messages", Answer::Messages, Generates::Message),
    // May be stored by vLLM under its id, so a second try could leave two.
    Route { stateless: false, ..generating("/v1/responses", Answer::Responses, Generates::Response) },
    models("/v1/models"),
    anthropic("/v1/messages/count_tokens", Answer::Uncounted, Generates::Nothing),
    json("/v1/rerank", Answer::Unary),
    json("/v1/score", Answer::Unary),
    form("/v1/audio/transcriptions"),
    form("/v1/audio/translations"),
    generating("/v1/chat/completions/batch", Answer::Unary, Generates::Chat),
    json("/v1/systemone", Answer::Unary),
    json("/v2/rerank", Answer::Unary),
    json("/v2/embed", Answer::Unary),
    json("/tokenize", Answer::Uncounted),
    json("/detokenize", Answer::Uncounted),
    json("/pooling", Answer::Unary),
    json("/classify", Answer::Unary),
    json("/score", Answer::Unary),
    json("/rerank", Answer::Unary),
    json("/generative_scoring", Answer::Unary),
    generating("/invocations", Answer::Completion, Generates::Any),
];

static ONE_MODEL: Route = models("/v1/models/{id}");
static ONE_RESPONSE: Route = stored("GET", "/v1/responses/{id}");
static CANCEL: Route = stored("POST", "/v1/responses/{id}/cancel");

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str) -> Option<(&'static str, Option<&str>)> {
        Some((Route::of_path(path)?.path, Route::response_id(path)))
    }

    #[test]
    fn a_response_is_named_by_an_id_that_means_nothing_else_in_a_path() {
        assert_eq!(named("/v1/responses/resp_1-a"), Some(("/v1/responses/{id}", Some("resp_1-a"))));
        assert_eq!(named("/v1/responses/r/cancel"), Some(("/v1/responses/{id}/cancel", Some("r"))));
        assert_eq!(named("/v1/responses/cancel"), Some(("/v1/responses/{id}", Some("cancel"))));
        assert_eq!(named("/v1/responses"), Some(("/v1/responses", None)));
        let long = format!("/v1/responses/{}", "a".repeat(257));
        for path in ["/", "/a/b", "/a/cancel/", "/a/", "/..", "/a%2Fb", "/a;b", "/a.b", "/a/input_items"] {
            assert_eq!(named(&format!("/v1/responses{path}")), None, "{path}");
        }
        assert_eq!(named(&long), None);
    }
}
