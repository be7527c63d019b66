//! The members of a JSON object, taken one by one, so that each error names the member at fault.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::Value;
use vllm_gateway_sdk::decode::near_miss;

use crate::problem::Problem;

/// What has been sent and not been taken yet.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, Value)>);

impl Fields {
    /// Reads a JSON object. A member that is there twice is an error: readers differ on which one counts.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let members = json.deserialize_map(Members).and_then(|members| json.end().map(|()| members));
        let members = members.map_err(|error| {
            // Of a value of another kind it would say which, and a key that was pasted in its place is one.
            let why = if error.is_data() { "something else is there".to_owned() } else { error.to_string() };
            Problem::invalid("body", format!("the body must be a JSON object: {why}"))
        })?;
        let mut seen = HashSet::new();
        if let Some((name, _)) = members.iter().find(|(name, _)| !seen.insert(name)) {
            let name = shown(name);
            return Err(Problem::invalid(
                name.clone(),
                format!("the field `{name}` is there more than once"),
            ));
        }
        Ok(Self(members))
    }

    /// Refuses members that nobody asked for.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => Err(unknown("field", name, known)),
        }
    }

    /// Whether there is a member of this name, be it `null`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(other, _)| other == name)
    }

    /// A text; `null` is as good as absent.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(name, "a string", &other)),
        }
    }

    /// A whole number that is not negative.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<u64>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => {
                value.as_u64().map(Some).ok_or_else(|| wrong_type(name, "a whole number, 0 or more", &value))
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Problem> {
        let values = match self.take(name) {
            None => return Ok(None),
            Some(Value::Array(values)) => values,
            Some(other) => return Err(wrong_type(name, "a list of strings or null", &other)),
        };
        let texts = values.into_iter().enumerate().map(|(at, value)| match value {
            Value::String(text) => Ok(text),
            other => Err(wrong_type(&format!("{name}[{at}]"), "a string", &other)),
        });
        texts.collect::<Result<_, _>>().map(Some)
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.swap_remove(at).1).filter(|value| !value.is_null())
    }
}

/// The error for a name that is not among the known ones.
pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> Problem {
    let name = shown(name);
    let hint = match near_miss(&name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there are none here".to_owned(),
        None => format!("there are {}", listed(known)),
    };
    Problem::invalid(name.clone(), format!("unknown {what} `{name}`: {hint}"))
}

/// Names as a list for people.
pub(crate) fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A name from outside, fit to be shown: bounded, and a key that was pasted in its place stays unsaid.
fn shown(name: &str) -> String {
    if name.contains("sk-") {
        return "***".into();
    }
    let mut shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    if name.chars().nth(64).is_some() {
        shown.push('…');
    }
    shown
}

fn wrong_type(field: &str, wanted: &str, found: &Value) -> Problem {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Problem::invalid(field, format!("must be {wanted}, not {found}"))
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Fields;

    #[test]
    fn a_body_that_is_no_object_is_not_repeated() {
        for body in
            ["\"sk-live-01234567-89ab-cdef-0011-223344556677\"", "17012345", "[\"sk-live-0\"]", "false"]
        {
            let problem = format!("{:?}", Fields::parse(body.as_bytes()).unwrap_err());
            assert!(
                problem.contains("something else is there") && !problem.contains(&body[1..5]),
                "{problem}"
            );
        }
        let problem = format!("{:?}", Fields::parse(b"{\"orgName\":}").unwrap_err());
        assert!(problem.contains("column 12"), "{problem}");
    }
}
