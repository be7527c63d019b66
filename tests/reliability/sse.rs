//! What a client has got of a stream: tokens, usage, and whether it was whole.

use serde_json::Value;

/// What was read of the events that came.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Events that carry a token; the simulated vLLM sends one token in each.
    pub(crate) tokens: u64,
    /// The last usage that was told.
    pub(crate) usage: Option<u64>,
    /// Whether the terminator has come.
    pub(crate) whole: bool,
    /// Whether an event told of an error.
    pub(crate) error: bool,
}

/// Reads the events of these bytes; the last may be cut off.
pub(crate) fn hear(bytes: &[u8]) -> Heard {
    let mut heard = Heard::default();
    let text = String::from_utf8_lossy(bytes);
    // A last line without its end may be half of one.
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    for data in complete.lines().filter_map(|line| line.strip_prefix("data: ")) {
        if data == "[DONE]" {
            heard.whole = true;
            continue;
        }
        let Ok(event) = serde_json::from_str::<Value>(data) else { continue };
        heard.error |= event.get("error").is_some();
        heard.whole |= event["type"] == "message_stop";
        for choice in event["choices"].as_array().into_iter().flatten() {
            let said = [&choice["delta"]["content"], &choice["delta"]["reasoning"], &choice["text"]];
            heard.tokens +=
                u64::from(said.iter().any(|said| said.as_str().is_some_and(|said| !said.is_empty())));
        }
        heard.tokens += u64::from(event["type"] == "content_block_delta");
        let usage = &event["usage"];
        heard.usage = usage["completion_tokens"].as_u64().or(usage["output_tokens"].as_u64()).or(heard.usage);
    }
    heard
}
