//! What the query of `GET /v1/responses/{id}` asks for. vLLM knows two words of it, and nothing else goes there.

use vllm_gateway_sdk::Error;

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// The query for vLLM, with its question mark; empty if there is none.
    pub(super) query: String,
    /// Whether the answer will be a stream.
    pub(super) stream: bool,
}

impl Asked {
    /// Reads the query. Of a word that comes twice the last counts, as for vLLM; words that vLLM does not know are left out.
    pub(super) fn read(query: &str) -> Result<Self, Error> {
        let (mut stream, mut after) = (None, None);
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "stream" => stream = Some((value, truth(value).ok_or_else(|| bad("stream"))?)),
                "starting_after" => after = Some(number(value).ok_or_else(|| bad("starting_after"))?),
                _ => {}
            }
        }
        let words = [
            stream.map(|(value, _)| format!("stream={value}")),
            after.map(|n| format!("starting_after={n}")),
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        let query = if words.is_empty() { String::new() } else { format!("?{}", words.join("&")) };
        Ok(Self { query, stream: stream.is_some_and(|(_, truth)| truth) })
    }
}

fn bad(name: &'static str) -> Error {
    Error::invalid("`stream` is true or false in this query, and `starting_after` a number").param(name)
}

/// As vLLM's parser reads it.
fn truth(value: &str) -> Option<bool> {
    let is = |words: [&str; 6]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
    match () {
        () if is(["true", "1", "on", "t", "y", "yes"]) => Some(true),
        () if is(["false", "0", "off", "f", "n", "no"]) => Some(false),
        () => None,
    }
}

fn number(value: &str) -> Option<i64> {
    value.parse().ok().filter(|_| value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_vllm_knows_goes_on_and_nothing_else() {
        for (query, goes_on, stream) in [
            ("", "", false),
            ("include=x&a", "", false),
            ("stream=true", "?stream=true", true),
            ("stream=0&starting_after=7", "?stream=0&starting_after=7", false),
            ("starting_after=-1&x=%0d%0a&stream=Yes", "?stream=Yes&starting_after=-1", true),
            ("stream=true&stream=false", "?stream=false", false),
        ] {
            assert_eq!(Asked::read(query).unwrap(), Asked { query: goes_on.into(), stream }, "{query}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for query in [
            "stream",
            "stream=",
            "stream=maybe",
            "stream=tru%65",
            "starting_after=1.5",
            "starting_after=+1",
            "starting_after=a b",
        ] {
            assert_eq!(Asked::read(query).unwrap_err().status(), 400, "{query}");
        }
    }
}
