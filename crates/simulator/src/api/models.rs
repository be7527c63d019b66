//! Model names: which are served, and which name answers carry.

use serde_json::Value;

use super::Cx;
use super::request::JsonBody;
use crate::error::ApiError;
use crate::json::text_of;
use crate::options::Options;

/// The name the answer carries: the first served one, or the adapter's.
pub(crate) fn model(cx: &Cx<'_>, body: &JsonBody) -> Result<String, ApiError> {
    named(&cx.shared.options, text_of(body.get("model")), true)
}

/// The same for pooling routes, whose error does not list the names (e02f).
pub(crate) fn pooling_model(cx: &Cx<'_>, body: &JsonBody) -> Result<String, ApiError> {
    named(
        &cx.shared.options,
        body.get("model").and_then(Value::as_str).filter(|name| !name.is_empty()),
        false,
    )
}

/// Missing, null and empty are served by the server's own model (a11d, a11f, a12b).
pub(crate) fn named(options: &Options, asked: Option<&str>, list: bool) -> Result<String, ApiError> {
    let own = options.models.first().cloned().unwrap_or_default();
    match asked {
        None => Ok(own),
        Some(name) if options.models.iter().any(|served| served == name) => Ok(own),
        Some(name) if options.adapters.iter().any(|adapter| adapter == name) => Ok(name.to_owned()),
        Some(name) => Err(ApiError::unknown_model(name, list.then_some(&options.models[..]))),
    }
}
