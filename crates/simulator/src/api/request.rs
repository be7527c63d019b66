//! Reading a JSON request: content type, text, JSON, and the checks that several routes share.

use serde_json::{Map, Value};

use super::Cx;
use crate::error::ApiError;
use crate::json::{Kind, Parsed, Problem, check, float, integer, parse, truth};

/// A JSON body that is an object.
pub(crate) struct JsonBody {
    pub(crate) value: Value,
    pub(crate) lone_surrogate: bool,
}

impl JsonBody {
    /// A field that is there and not null.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.value.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn fields(&self) -> &Map<String, Value> {
        static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        self.value.as_object().unwrap_or(&NONE)
    }

    /// A truth value; what is not there is false.
    pub(crate) fn truth(&self, name: &str) -> bool {
        truth(self.get(name)).unwrap_or(false)
    }

    /// A number of things; what is not there or negative is none.
    pub(crate) fn count(&self, name: &str) -> Option<usize> {
        integer(self.get(name)).and_then(|number| usize::try_from(number).ok())
    }

    /// Refuses the body unless these fields are there and those that are typed fit.
    pub(crate) fn require(&self, required: &[&str], typed: &[(&str, Kind)]) -> Result<(), ApiError> {
        let missing = required.iter().filter(|name| !self.fields().contains_key(**name));
        let mut problems: Vec<_> =
            missing.map(|name| Problem::missing(&format!("body.{name}"), &self.value)).collect();
        check(self.fields(), typed, &mut problems);
        if problems.is_empty() { Ok(()) } else { Err(ApiError::invalid(&problems)) }
    }
}

/// Reads the body as the framework does, before any field is looked at.
pub(crate) fn json_body(cx: &Cx<'_>) -> Result<JsonBody, ApiError> {
    let media_type = cx.head.header("content-type").unwrap_or("");
    let essence = media_type.split(';').next().unwrap_or("").trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::media_type());
    }
    let text = std::str::from_utf8(&cx.body).map_err(|_| ApiError::unreadable())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Parsed { value, lone_surrogate } = if text.is_empty() {
        Parsed { value: Value::Null, lone_surrogate: false }
    } else {
        parse(text).map_err(|(error, at)| ApiError::invalid(&[Problem::not_json(error, at)]))?
    };
    if value.is_null() {
        return Err(ApiError::invalid(&[Problem::missing("body", &value)]));
    }
    if !value.is_object() {
        let message = "Input should be a valid dictionary or object to extract fields from";
        return Err(ApiError::invalid(&[Problem::new("model_attributes_type", "body", message, &value)]));
    }
    Ok(JsonBody { value, lone_surrogate })
}

/// Fields that generative requests share, with their types.
pub(crate) const SAMPLING: [(&str, Kind); 24] = [
    ("model", Kind::Text),
    ("temperature", Kind::Float),
    ("top_p", Kind::Float),
    ("min_p", Kind::Float),
    ("frequency_penalty", Kind::Float),
    ("presence_penalty", Kind::Float),
    ("repetition_penalty", Kind::Float),
    ("length_penalty", Kind::Float),
    ("max_tokens", Kind::Integer),
    ("max_completion_tokens", Kind::Integer),
    ("max_output_tokens", Kind::Integer),
    ("min_tokens", Kind::Integer),
    ("n", Kind::Integer),
    ("seed", Kind::Integer),
    ("top_k", Kind::Integer),
    ("top_logprobs", Kind::Integer),
    ("prompt_logprobs", Kind::Integer),
    ("priority", Kind::Integer),
    ("stream", Kind::Truth),
    ("ignore_eos", Kind::Truth),
    ("echo", Kind::Truth),
    ("user", Kind::Text),
    ("request_id", Kind::Text),
    ("return_token_ids", Kind::Truth),
];

/// The values that make no sense, whatever the model.
pub(crate) fn check_sampling(cx: &Cx<'_>, body: &JsonBody) -> Result<(), ApiError> {
    let number = |name| float(body.get(name));
    let shown = |number: f64| if number.is_nan() { "nan".to_owned() } else { format!("{number:?}") };
    if let Some(temperature) = number("temperature") {
        let value = shown(temperature);
        if !temperature.is_finite() {
            let message = format!("temperature must be a finite number, got {value}.");
            return Err(ApiError::parameter("temperature", &message, Some(&value)));
        }
        if temperature < 0.0 {
            let message = format!("temperature must be non-negative, got {value}.");
            return Err(ApiError::parameter("temperature", &message, Some(&value)));
        }
    }
    if let Some(top_p) = number("top_p").filter(|top_p| !(*top_p > 0.0 && *top_p <= 1.0)) {
        let value = shown(top_p);
        return Err(ApiError::parameter(
            "top_p",
            &format!("top_p must be in (0, 1], got {value}."),
            Some(&value),
        ));
    }
    match integer(body.get("n")) {
        Some(n) if n < 1 => return Err(ApiError::bad(format!("n must be at least 1, got {n}."))),
        Some(n) if n > 16_384 => {
            return Err(ApiError::bad(format!(
                "n must be at most 16384, got {n}. To increase this limit, set the VLLM_MAX_N_SEQUENCES environment variable."
            )));
        }
        _ => {}
    }
    if body.get("stream_options").is_some() && !body.truth("stream") {
        let message = "Stream options can only be defined when `stream=True`.";
        return Err(ApiError::parameter("stream_options", message, None));
    }
    if body.get("prompt_logprobs").is_some() && body.truth("stream") {
        let message = "`prompt_logprobs` are not available when `stream=True`.";
        return Err(ApiError::parameter("prompt_logprobs", message, None));
    }
    if body.truth("use_beam_search") && body.truth("stream") {
        return Err(ApiError::bad("Streaming is not currently supported with beam search"));
    }
    check_rank(cx)
}

/// The one header that can be wrong: there is one data-parallel rank, number 0.
fn check_rank(cx: &Cx<'_>) -> Result<(), ApiError> {
    let rank = cx.head.header("x-data-parallel-rank").and_then(|rank| rank.trim().parse::<i64>().ok());
    match rank {
        Some(rank) if rank != 0 => {
            Err(ApiError::bad(format!("data_parallel_rank {rank} is out of range [0, 1).")))
        }
        _ => Ok(()),
    }
}

/// How many tokens may be generated, as asked for.
pub(crate) fn max_tokens(cx: &Cx<'_>, body: &JsonBody, names: &[&str]) -> Result<Option<usize>, ApiError> {
    let Some(asked) = names.iter().find_map(|name| integer(body.get(name))) else { return Ok(None) };
    let value = asked.to_string();
    if asked < 1 {
        let message = format!("max_tokens must be at least 1, got {asked}.");
        return Err(ApiError::parameter("max_tokens", &message, Some(&value)));
    }
    let limit = cx.shared.options.max_model_len;
    let tokens = usize::try_from(asked).unwrap_or(usize::MAX);
    if tokens > limit {
        let message = format!(
            "max_tokens={asked} cannot be greater than max_model_len={limit}. Please request fewer output tokens."
        );
        return Err(ApiError::parameter("max_tokens", &message, Some(&value)));
    }
    Ok(Some(tokens))
}

/// Refuses a prompt's text before it is tokenized: no token is longer than 33 characters (a24).
pub(crate) fn check_length(cx: &Cx<'_>, text: &str) -> Result<(), ApiError> {
    let limit = cx.shared.options.max_model_len;
    let most = limit.saturating_mul(33);
    // Counting bytes first: they are never fewer than characters.
    if text.len() <= most {
        return Ok(());
    }
    let characters = text.chars().count();
    if characters <= most {
        return Ok(());
    }
    let message = format!(
        "This model's maximum context length is {limit} tokens. However, your prompt contains {characters} characters \
         (more than {most} characters, which is the upper bound for {limit} input tokens). Please reduce the length of the input prompt."
    );
    Err(ApiError::parameter("input_text", &message, Some(&characters.to_string())))
}

/// Refuses a prompt of more tokens than the context has.
pub(crate) fn check_tokens(cx: &Cx<'_>, tokens: usize) -> Result<(), ApiError> {
    let limit = cx.shared.options.max_model_len;
    if tokens <= limit {
        return Ok(());
    }
    // vLLM stops counting there.
    let seen = limit + 1;
    let message = format!(
        "This model's maximum context length is {limit} tokens. However, your prompt contains at least {seen} input tokens, \
         which exceeds this limit even without any output tokens. Please reduce the length of the input prompt."
    );
    Err(ApiError::parameter("input_tokens", &message, Some(&seen.to_string())))
}

/// What the tokenizer says to half a surrogate pair (a12o).
pub(crate) fn check_surrogates(body: &JsonBody) -> Result<(), ApiError> {
    if body.lone_surrogate {
        let message = "TextEncodeInput must be Union[TextInputSequence, Tuple[InputSequence, InputSequence]]";
        return Err(ApiError::bad(message));
    }
    Ok(())
}
