//! What serde says, in the words of a TOML file.

use super::{Problem, near_miss};

/// The field that serde misses.
pub(super) fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// Says what serde says, in the words of a TOML file.
pub(super) fn problem(error: &toml::de::Error) -> Problem {
    let message = error.message().trim_end();
    let (message, mut hint) = unknown(message).unwrap_or_else(|| (plain(message), None));
    if message.starts_with("expected a string, found integer")
        || message.starts_with("expected a string, found float")
    {
        hint = Some("strings stand in quotes; durations are written \"30s\", sizes \"32MiB\"".to_owned());
    }
    Problem { span: error.span(), message, hint }
}

/// "unknown field `x`, expected `a` or `b`", with a guess at what was meant.
fn unknown(message: &str) -> Option<(String, Option<String>)> {
    let (what, rest) = message
        .strip_prefix("unknown field `")
        .map(|rest| ("field", rest))
        .or_else(|| Some(("value", message.strip_prefix("unknown variant `")?)))?;
    let (word, known) = word_and_known(rest)?;
    let said = format!("unknown {what} `{}`", word.escape_debug());
    if let Some(meant) = near_miss(word, known.iter().copied()) {
        return Some((format!("{said}, did you mean `{meant}`?"), None));
    }
    let hint = match (known.as_slice(), what) {
        ([], _) => "nothing can be set here".to_owned(),
        (known, "field") => format!("known here: {}", known.join(", ")),
        (known, _) => format!("one of: {}", known.join(", ")),
    };
    Some((said, Some(hint)))
}

/// The field that was meant by an unknown one.
pub(super) fn meant(message: &str) -> Option<&str> {
    let (word, known) = word_and_known(message.strip_prefix("unknown field `")?)?;
    near_miss(word, known)
}

fn word_and_known(rest: &str) -> Option<(&str, Vec<&str>)> {
    // The last one: the word itself may hold anything.
    let (word, known) = rest.rsplit_once("`, expected ").or_else(|| rest.rsplit_once("`, there are no "))?;
    Some((word, known.split('`').skip(1).step_by(2).collect()))
}

/// Names the option where the text of a check of its own value does not say what it is about.
pub(super) fn name_key(problem: &mut Problem, path: &[String]) {
    let key = path.iter().rfind(|step| step.parse::<usize>().is_err());
    let silent = !problem.message.contains('`') && !problem.message.starts_with("expected ");
    if let Some(key) = key.filter(|_| silent) {
        problem.message = format!("`{}`: {}", key.escape_debug(), problem.message);
    }
}

/// Whether something else stands where an array is wanted.
pub(super) fn lacks_brackets(message: &str) -> bool {
    message.starts_with("expected an array, found ")
}

/// "invalid type: map, expected u32" in the words of TOML instead of Rust's.
fn plain(message: &str) -> String {
    let split = message.strip_prefix("invalid ").and_then(|rest| rest.rsplit_once(", expected "));
    let Some((found, expected)) = split else { return message.to_owned() };
    let found = found.strip_prefix("type: ").or_else(|| found.strip_prefix("value: ")).unwrap_or(found);
    let found = match found {
        "map" => "a table".to_owned(),
        "sequence" => "an array".to_owned(),
        other => other.to_owned(),
    };
    let expected = match expected {
        "a map" => "a table",
        "a sequence" => "an array",
        "a boolean" => "true or false",
        "f32" | "f64" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more, that is not too large",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number that is not too large",
        other if other.starts_with("a nonzero ") => "a whole number, 1 or more, that is not too large",
        other if other.starts_with("struct ") => "a table",
        other if other.starts_with("enum ") || other.starts_with("string or table") => "a string",
        other => other,
    };
    format!("expected {expected}, found {found}")
}
