//! `/invocations`, SageMaker's one route: the shape of the body says which it is.

use super::request::json_body;
use super::{Cx, Handled, chat, completions, embeddings, ranking};
use crate::error::ApiError;
use crate::http1::Wire;

/// Finds the route and answers as it does.
pub(crate) async fn invocations(cx: &Cx<'_>, wire: &mut Wire<'_>) -> Handled {
    let body = json_body(cx)?;
    let has = |name: &str| body.get(name).is_some();
    let tasks = cx.shared.options.tasks;
    let generate = tasks.generate;
    let pool = tasks.embed || tasks.classify;
    match () {
        () if generate && has("messages") => chat::chat(cx, wire).await,
        () if generate && has("prompt") => completions::completions(cx, wire).await,
        () if pool && (has("input") || has("messages")) => embeddings::embeddings(cx, wire).await,
        () if pool && has("query") => ranking::rerank(cx, wire).await,
        () if pool && (has("text_1") || has("queries")) => ranking::score(cx, wire).await,
        () => Err(ApiError::bad("Unsupported request body for this model").into()),
    }
}
