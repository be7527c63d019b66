//! Tools: whether one is called, and which.

use serde_json::Value;

use super::super::Cx;
use super::super::request::JsonBody;
use crate::error::ApiError;
use crate::options::AutoTools;

/// A tool that the answer calls.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) tool: Value,
    pub(crate) name: String,
    /// A named tool ends with `stop`, any other with `tool_calls` (a08b, a08d).
    pub(crate) finish: &'static str,
}

/// Decides by `tool_choice` what happens with the tools.
pub(crate) fn call(cx: &Cx<'_>, body: &JsonBody) -> Result<Option<Call>, ApiError> {
    let none = Vec::new();
    let tools = body.get("tools").and_then(Value::as_array).unwrap_or(&none);
    let named = |tool: &Value, finish| Call {
        name: tool["function"]["name"].as_str().unwrap_or("").to_owned(),
        tool: tool.clone(),
        finish,
    };
    let Some(first) = tools.first() else { return Ok(None) };
    match body.get("tool_choice") {
        Some(Value::String(choice)) if choice == "none" => Ok(None),
        Some(Value::String(choice)) if choice == "required" => Ok(Some(named(first, "tool_calls"))),
        Some(Value::Object(choice)) => {
            let wanted = choice.get("function").and_then(|function| function["name"].as_str());
            let tool = tools.iter().find(|tool| tool["function"]["name"].as_str() == wanted);
            tool.map(|tool| Some(named(tool, "stop"))).ok_or_else(|| {
                let message =
                    "The tool specified in `tool_choice` does not match any of the specified `tools`";
                ApiError::parameter("tool_choice", message, None)
            })
        }
        _ => match cx.shared.options.auto_tools {
            AutoTools::Refused => Err(ApiError::bad(
                "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set",
            )),
            AutoTools::Text => Ok(None),
            AutoTools::Call => Ok(Some(named(first, "tool_calls"))),
        },
    }
}
