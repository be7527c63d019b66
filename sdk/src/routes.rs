//! The routes that apps may use: the one table that says how each is treated.
//!
//! From the route list of vLLM 0.32 (its OpenAPI document and the routes it logs at start). What is not here is
//! not reachable: vLLM's administration routes, `/v1/realtime`, and `/v1/responses/{id}` with its `cancel`.

use http::Method;

use crate::Api;

/// How one route is treated.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// The exact path, at the client and at vLLM.
    pub path: &'static str,
    /// Where the request names its model.
    pub model: ModelPlace,
    /// How its answer is read.
    pub answer: Answer,
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
    /// Nowhere: the gateway answers by itself.
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
    /// The list of models, by the gateway.
    Models,
}

impl Route {
    /// The methods that it takes, as in an `allow` header.
    #[must_use]
    pub const fn allow(&self) -> &'static str {
        if matches!(self.answer, Answer::Models) { "GET" } else { "POST" }
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
            let id = path.strip_prefix("/v1/models/")?;
            (!id.is_empty()).then_some(&ONE_MODEL)
        })
    }

    /// Whether this is the route of a single model, whose id is the rest of the path.
    #[must_use]
    pub fn is_one_model(&self) -> bool {
        self.path == ONE_MODEL.path
    }
}

/// All routes.
pub fn routes() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().chain([&ONE_MODEL])
}

const fn json(path: &'static str, answer: Answer) -> Route {
    Route { path, model: ModelPlace::Json, answer, api: Api::OpenAi, stateless: true }
}

const fn form(path: &'static str) -> Route {
    Route { path, model: ModelPlace::Form, answer: Answer::Completion, api: Api::OpenAi, stateless: true }
}

const fn anthropic(path: &'static str, answer: Answer) -> Route {
    Route { path, model: ModelPlace::Json, answer, api: Api::Anthropic, stateless: true }
}

const fn models(path: &'static str) -> Route {
    Route { path, model: ModelPlace::None, answer: Answer::Models, api: Api::OpenAi, stateless: true }
}

/// The most used come first: the table is searched from the top.
static ROUTES: [Route; 23] = [
    json("/v1/chat/completions", Answer::Completion),
    json("/v1/completions", Answer::Completion),
    json("/v1/embeddings", Answer::Unary),
    anthropic("/v1/messages", Answer::Messages),
    // May be stored by vLLM under its id, so a second try could leave two.
    Route { stateless: false, ..json("/v1/responses", Answer::Responses) },
    models("/v1/models"),
    anthropic("/v1/messages/count_tokens", Answer::Uncounted),
    json("/v1/rerank", Answer::Unary),
    json("/v1/score", Answer::Unary),
    form("/v1/audio/transcriptions"),
    form("/v1/audio/translations"),
    json("/v1/chat/completions/batch", Answer::Unary),
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
    json("/invocations", Answer::Completion),
];

static ONE_MODEL: Route = models("/v1/models/{id}");
