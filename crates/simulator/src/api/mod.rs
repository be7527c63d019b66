//! The routes: what each reads, checks and answers.

mod admin;
mod chat;
mod completions;
mod embeddings;
mod form;
mod generate;
mod info;
mod invocations;
mod messages;
mod models;
mod ranking;
mod request;
mod responses;
mod speech;
mod stored;
mod tokens;
mod unrecorded;

use std::sync::Arc;

use bytes::Bytes;

use crate::error::ApiError;
use crate::fault::Plan;
use crate::http1::{Answer, Interrupt, RequestHead, Wire};
use crate::ledger::Live;
use crate::router::Route;
use crate::shared::Shared;

/// One request and where it belongs.
pub(crate) struct Cx<'x> {
    pub(crate) shared: &'x Arc<Shared>,
    pub(crate) head: &'x RequestHead,
    pub(crate) body: Bytes,
    pub(crate) plan: &'x Plan,
}

/// What a handler leaves to be written.
pub(crate) struct Reply {
    /// `None` when a stream has been written already.
    pub(crate) answer: Option<Answer>,
    /// The generation that the answer is of.
    pub(crate) live: Option<Arc<Live>>,
}

impl Reply {
    /// An answer that is no generation's.
    pub(crate) fn of(answer: Answer) -> Self {
        Self { answer: Some(answer), live: None }
    }
}

/// Why a handler stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The server answers an error.
    Error(ApiError),
    /// The connection does not go on.
    Wire(Interrupt),
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}

impl From<Interrupt> for Stop {
    fn from(interrupt: Interrupt) -> Self {
        Self::Wire(interrupt)
    }
}

pub(crate) type Handled = Result<Reply, Stop>;

/// Answers a request.
pub(crate) async fn handle(cx: &Cx<'_>, route: Route, wire: &mut Wire<'_>) -> Result<Reply, Interrupt> {
    let anthropic = matches!(route, Route::Messages | Route::CountTokens);
    // Boxed, so that an idle connection's future is not as large as the largest handler's.
    match Box::pin(dispatch(cx, route, wire)).await {
        Ok(reply) => Ok(reply),
        Err(Stop::Wire(interrupt)) => Err(interrupt),
        Err(Stop::Error(error)) if anthropic => Ok(Reply::of(error.answer_anthropic())),
        Err(Stop::Error(error)) => Ok(Reply::of(error.answer())),
    }
}

async fn dispatch(cx: &Cx<'_>, route: Route, wire: &mut Wire<'_>) -> Handled {
    match route {
        Route::Chat => chat::chat(cx, wire).await,
        Route::ChatBatch => chat::batch(cx, wire).await,
        Route::Completions => completions::completions(cx, wire).await,
        Route::Responses => responses::responses(cx, wire).await,
        Route::StoredResponse(id) => stored::stored(cx, &id, wire).await,
        Route::Messages => messages::messages(cx, wire).await,
        Route::CountTokens => messages::count_tokens(cx),
        Route::Invocations => invocations::invocations(cx, wire).await,
        Route::Tokenize => tokens::tokenize(cx),
        Route::Detokenize => tokens::detokenize(cx),
        Route::Embeddings => embeddings::embeddings(cx, wire).await,
        Route::Pooling => embeddings::pooling(cx, wire).await,
        Route::Classify => embeddings::classify(cx, wire).await,
        Route::CohereEmbed => unrecorded::cohere_embed(cx),
        Route::SystemOne => unrecorded::system_one(cx),
        Route::GenerativeScoring => unrecorded::generative_scoring(cx),
        Route::Score => ranking::score(cx, wire).await,
        Route::Rerank => ranking::rerank(cx, wire).await,
        Route::Transcriptions => speech::transcriptions(cx, wire).await,
        Route::Translations => speech::translations(cx, wire).await,
        Route::ScaleOut => Err(ApiError::scale_out_disabled().into()),
        information => Ok(Reply::of(
            info::answer(cx, &information)
                .or_else(|| admin::answer(cx, &information))
                .unwrap_or_else(|| ApiError::not_simulated("this route").answer()),
        )),
    }
}

/// The fields of a form that was sent, in their order, files as `@`; `None` if it is no form.
pub(crate) fn sent_form(cx: &Cx<'_>) -> Option<Vec<(String, String)>> {
    let fields: Vec<_> =
        form::Form::read(cx).ok()?.fields().map(|(name, value)| (name.to_owned(), value)).collect();
    (!fields.is_empty()).then_some(fields)
}
