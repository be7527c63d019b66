//! Routes of which only the refusals are recorded. What is not known is not made up: it is answered 501.

use serde_json::Value;

use super::models::{model, pooling_model};
use super::request::json_body;
use super::{Cx, Handled};
use crate::error::ApiError;

/// `/v1/systemone` (a31c).
pub(crate) fn system_one(cx: &Cx<'_>) -> Handled {
    let body = json_body(cx)?;
    body.require(&["state", "questions"], &[])?;
    model(cx, &body)?;
    Err(ApiError::not_simulated("structured decisions").into())
}

/// `/generative_scoring` (a31d).
pub(crate) fn generative_scoring(cx: &Cx<'_>) -> Handled {
    let body = json_body(cx)?;
    body.require(&["query", "items", "label_token_ids"], &[])?;
    model(cx, &body)?;
    Err(ApiError::not_simulated("generative scoring").into())
}

/// `/v2/embed`, Cohere's (e05d).
pub(crate) fn cohere_embed(cx: &Cx<'_>) -> Handled {
    let body = json_body(cx)?;
    pooling_model(cx, &body)?;
    if let Some(kind) = body.get("input_type").and_then(Value::as_str) {
        let message = format!(
            "Unsupported input_type '{kind}'. This model does not define any input_type task instructions."
        );
        return Err(ApiError::bad(message).into());
    }
    Err(ApiError::not_simulated("Cohere's embeddings").into())
}
