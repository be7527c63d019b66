//! Reading fields as pydantic does: loosely, and with its words when they do not fit.

use serde_json::{Map, Value};

use super::python::NAN;

/// What a field should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Float,
    Integer,
    Truth,
    Text,
}

/// One thing that is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    kind: &'static str,
    pub(crate) place: String,
    message: &'static str,
    input: String,
    context: Option<&'static str>,
}

impl Problem {
    /// A required field is not there; `body` is what it was looked for in.
    pub(crate) fn missing(place: &str, body: &Value) -> Self {
        Self::new("missing", place, "Field required", body)
    }

    pub(crate) fn new(kind: &'static str, place: &str, message: &'static str, input: &Value) -> Self {
        Self { kind, place: place.to_owned(), message, input: shown(input), context: None }
    }

    /// The body is not JSON.
    pub(crate) fn not_json(error: &'static str, at: usize) -> Self {
        Self {
            kind: "json_invalid",
            place: format!("body.{at}"),
            message: "JSON decode error",
            input: "<dict of 0 items>".to_owned(),
            context: Some(error),
        }
    }

    /// As vLLM prints it in its message.
    pub(crate) fn line(&self) -> String {
        let context =
            self.context.map_or(String::new(), |error| format!(", 'ctx': {{'error': {}}}", quoted(error)));
        let (kind, place, message) = (self.kind, quoted(&self.place), quoted(self.message));
        format!(
            "  {{'type': '{kind}', 'loc': {place}, 'msg': {message}, 'input': {}{context}}}",
            quoted(&self.input)
        )
    }
}

/// Python's `repr` of a string.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for letter in text.chars() {
        match letter {
            '\n' => out.push_str("\\n"),
            '\\' => out.push_str("\\\\"),
            letter if letter == quote => out.extend(['\\', letter]),
            letter => out.push(letter),
        }
    }
    out.push(quote);
    out
}

fn shown(input: &Value) -> String {
    match input {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text == NAN => "nan".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("<list of {} items>", items.len()),
        Value::Object(items) => format!("<dict of {} items>", items.len()),
    }
}

/// Checks the fields that are there; null passes, as it stands for the default nearly everywhere.
pub(crate) fn check(body: &Map<String, Value>, fields: &[(&str, Kind)], problems: &mut Vec<Problem>) {
    for (name, kind) in fields {
        let Some(value) = body.get(*name).filter(|value| !value.is_null()) else { continue };
        if let Some((code, message)) = objection(value, *kind) {
            problems.push(Problem::new(code, &format!("body.{name}"), message, value));
        }
    }
}

fn objection(value: &Value, kind: Kind) -> Option<(&'static str, &'static str)> {
    let text = value.is_string();
    match kind {
        Kind::Float if float(Some(value)).is_some() => None,
        Kind::Float if text => {
            Some(("float_parsing", "Input should be a valid number, unable to parse string as a number"))
        }
        Kind::Float => Some(("float_type", "Input should be a valid number")),
        Kind::Integer if integer(Some(value)).is_some() => None,
        Kind::Integer if text => {
            Some(("int_parsing", "Input should be a valid integer, unable to parse string as an integer"))
        }
        Kind::Integer if value.is_number() => {
            Some(("int_from_float", "Input should be a valid integer, got a number with a fractional part"))
        }
        Kind::Integer => Some(("int_type", "Input should be a valid integer")),
        Kind::Truth if truth(Some(value)).is_some() => None,
        Kind::Truth if text || value.is_number() => {
            Some(("bool_parsing", "Input should be a valid boolean, unable to interpret input"))
        }
        Kind::Truth => Some(("bool_type", "Input should be a valid boolean")),
        Kind::Text if text => None,
        Kind::Text => Some(("string_type", "Input should be a valid string")),
    }
}

/// A number, also in a string.
pub(crate) fn float(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) if text == NAN => Some(f64::NAN),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        _ => None,
    }
}

/// A whole number, also in a string or as `2.0`.
pub(crate) fn integer(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
            format!("{float:.0}").parse().ok()
        }),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(truth) => Some(i64::from(*truth)),
        _ => None,
    }
}

/// A truth value, as loosely as `"true"`, `"on"` and `1` (a21g, a21h).
pub(crate) fn truth(value: Option<&Value>) -> Option<bool> {
    match value? {
        Value::Bool(truth) => Some(*truth),
        Value::Number(number) => match number.as_f64()? {
            0.0 => Some(false),
            1.0 => Some(true),
            _ => None,
        },
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
            "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A string that is there and not empty.
pub(crate) fn text_of(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A string or a list of them.
pub(crate) fn listed(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_as_loosely_as_pydantic_reads_them() {
        assert_eq!(truth(Some(&json!("true"))), Some(true));
        assert_eq!(truth(Some(&json!(1))), Some(true));
        assert_eq!(truth(Some(&json!(2))), None);
        assert_eq!(integer(Some(&json!("7"))), Some(7));
        assert_eq!(integer(Some(&json!(7.0))), Some(7));
        assert_eq!(integer(Some(&json!(7.5))), None);
        assert_eq!(float(Some(&json!("0.5"))), Some(0.5));
    }

    #[test]
    fn a_problem_is_printed_as_recorded() {
        let line = Problem::new(
            "float_parsing",
            "body.temperature",
            "Input should be a valid number, unable to parse string as a number",
            &json!("hot"),
        )
        .line();
        assert_eq!(
            line,
            "  {'type': 'float_parsing', 'loc': 'body.temperature', 'msg': 'Input should be a valid number, unable to parse string as a number', 'input': 'hot'}"
        );
        assert!(Problem::new("x", "body.'a'", "m", &json!(null)).line().contains("\"body.'a'\""));
    }
}
