//! The chat template: messages to the text of a prompt (the ChatML of the recorded model).

use serde_json::Value;

use crate::error::ApiError;

/// What the end of the prompt looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Template {
    /// The assistant's turn is opened.
    Open,
    /// Nothing is added.
    Closed,
    /// The last message goes on.
    Continue,
}

/// Renders messages. `model` is named when it cannot take what they hold.
pub(crate) fn render(
    messages: &[Value],
    tools: &[Value],
    ending: Template,
    multimodal: bool,
    model: &str,
) -> Result<String, ApiError> {
    if messages.is_empty() {
        let message = "Cannot apply chat template to an empty conversation. Provide at least one message.";
        return Err(ApiError::bad(message));
    }
    let mut text = String::new();
    if !tools.is_empty() {
        text.push_str("<|im_start|>system\nTools:");
        tools.iter().for_each(|tool| text.extend(["\n", &tool.to_string()]));
        text.push_str("<|im_end|>\n");
    }
    for (index, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or("user");
        text.extend(["<|im_start|>", role, "\n"]);
        text.push_str(&content(&message["content"], multimodal, model)?);
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            text.extend(["<tool_call>\n", &call["function"].to_string(), "\n</tool_call>"]);
        }
        let last = index + 1 == messages.len();
        if !(last && ending == Template::Continue) {
            text.push_str("<|im_end|>\n");
        }
    }
    if ending == Template::Open {
        text.push_str("<|im_start|>assistant\n");
    }
    Ok(text)
}

/// The text of a message: a string, or the text parts of a list.
pub(crate) fn content(content: &Value, multimodal: bool, model: &str) -> Result<String, ApiError> {
    let Some(parts) = content.as_array() else { return Ok(content.as_str().unwrap_or("").to_owned()) };
    let mut texts = Vec::new();
    for part in parts {
        match part["type"].as_str() {
            Some("image_url" | "input_image" | "image" | "video_url" | "audio_url" | "input_audio") => {
                if !multimodal {
                    return Err(ApiError::bad(format!("{model} is not a multimodal model")));
                }
                texts.push("<|image|>".to_owned());
            }
            _ => texts.push(part["text"].as_str().unwrap_or("").to_owned()),
        }
    }
    Ok(texts.join("\n"))
}
