//! Reads token figures from a usage object in each of the spellings that vLLM uses.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Token figures of one request, as far as vLLM gave them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt: Option<u64>,
    /// Tokens of the answer.
    pub completion: Option<u64>,
    /// Both; computed where vLLM leaves it out.
    pub total: Option<u64>,
    /// Prompt tokens that came from the prefix cache.
    pub cached: Option<u64>,
    /// Answer tokens spent on reasoning.
    pub reasoning: Option<u64>,
}

impl Usage {
    /// Reads a raw usage object. `None` if it is not one or holds no token figure (speech counts seconds).
    pub fn read(raw: &[u8]) -> Option<Self> {
        // A derived struct would be read from an array as well.
        raw.trim_ascii_start().first().filter(|&&first| first == b'{')?;
        let raw: Raw = serde_json::from_slice(raw).ok()?;
        let usage = Self {
            prompt: raw.prompt_tokens.0.or(raw.input_tokens.0),
            completion: raw.completion_tokens.0.or(raw.output_tokens.0),
            total: raw.total_tokens.0,
            cached: (raw.prompt_tokens_details.cached().or(raw.input_tokens_details.cached()))
                .or(raw.cache_read_input_tokens.0),
            reasoning: (raw.completion_tokens_details.reasoning()).or(raw.output_tokens_details.reasoning()),
        };
        (usage != Self::default()).then(|| usage.with_total())
    }

    /// These figures, overridden by what `later` knows.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self {
            prompt: later.prompt.or(self.prompt),
            completion: later.completion.or(self.completion),
            total: later.total,
            cached: later.cached.or(self.cached),
            reasoning: later.reasoning.or(self.reasoning),
        }
        .with_total()
    }

    /// Adds up the total if it is missing and can be known.
    #[must_use]
    pub(crate) fn with_total(mut self) -> Self {
        if let (None, Some(prompt), Some(completion)) = (self.total, self.prompt, self.completion) {
            self.total = Some(prompt.saturating_add(completion));
        }
        self
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    prompt_tokens: Count,
    input_tokens: Count,
    completion_tokens: Count,
    output_tokens: Count,
    total_tokens: Count,
    cache_read_input_tokens: Count,
    prompt_tokens_details: Details,
    input_tokens_details: Details,
    completion_tokens_details: Details,
    output_tokens_details: Details,
}

/// A figure; anything that is not a whole number of tokens is none, and spoils nothing beside it.
#[derive(Default, Clone, Copy)]
struct Count(Option<u64>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl<'de> Visitor<'de> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of tokens")
    }

    fn visit_u64<E>(self, count: u64) -> Result<Count, E> {
        Ok(Count(Some(count)))
    }

    fn visit_i64<E>(self, count: i64) -> Result<Count, E> {
        Ok(Count(u64::try_from(count).ok()))
    }

    fn visit_f64<E>(self, count: f64) -> Result<Count, E> {
        // 2^53: beyond it a float no longer names one whole number.
        let whole = count.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&count);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and within range")]
        Ok(Count(whole.then_some(count as u64)))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_unit<E>(self) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Count, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }
}

/// A `*_tokens_details` object; null and other things are an empty one.
#[derive(Default)]
struct Details {
    cached_tokens: Count,
    reasoning_tokens: Count,
}

impl Details {
    fn cached(&self) -> Option<u64> {
        self.cached_tokens.0
    }

    fn reasoning(&self) -> Option<u64> {
        self.reasoning_tokens.0
    }
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Any {
            Object {
                #[serde(default)]
                cached_tokens: Count,
                #[serde(default)]
                reasoning_tokens: Count,
            },
            Other(IgnoredAny),
        }
        Ok(match Any::deserialize(deserializer)? {
            Any::Object { cached_tokens, reasoning_tokens } => Self { cached_tokens, reasoning_tokens },
            Any::Other(IgnoredAny) => Self::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn usage(raw: &str) -> Usage {
        Usage::read(raw.as_bytes()).unwrap()
    }

    #[test]
    fn chat_spelling_with_null_details_is_read() {
        let read = usage(
            r#"{"prompt_tokens":17,"total_tokens":25,"completion_tokens":8,"prompt_tokens_details":null,"completion_tokens_details":null}"#,
        );
        let expected = Usage { prompt: Some(17), completion: Some(8), total: Some(25), ..Usage::default() };
        assert_eq!(read, expected);
    }

    #[test]
    fn cached_and_reasoning_tokens_are_read_in_both_spellings() {
        let chat = usage(
            r#"{"prompt_tokens":195,"total_tokens":197,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":128,"created_cache_tokens":0},"completion_tokens_details":{"reasoning_tokens":2}}"#,
        );
        assert_eq!((chat.cached, chat.reasoning), (Some(128), Some(2)));
        let responses = usage(
            r#"{"input_tokens":17,"input_tokens_details":{"cached_tokens":5,"input_tokens_per_turn":[]},"output_tokens":4,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":21}"#,
        );
        assert_eq!(
            responses,
            Usage {
                prompt: Some(17),
                completion: Some(4),
                total: Some(21),
                cached: Some(5),
                reasoning: Some(3)
            }
        );
    }

    #[test]
    fn a_missing_total_is_added_up() {
        assert_eq!(usage(r#"{"input_tokens":17,"output_tokens":8}"#).total, Some(25));
    }

    #[test]
    fn rerank_has_no_completion_tokens() {
        let read = usage(r#"{"prompt_tokens":3,"total_tokens":3}"#);
        assert_eq!((read.prompt, read.completion, read.total), (Some(3), None, Some(3)));
    }

    #[test]
    fn a_duration_is_no_token_count() {
        assert_eq!(Usage::read(br#"{"type":"duration","seconds":1}"#), None);
    }

    #[test]
    fn one_odd_figure_spoils_nothing_beside_it() {
        let read = usage(
            r#"{"prompt_tokens":3.0,"completion_tokens":[1,{"a":2}],"total_tokens":-1,"prompt_tokens_details":7,"completion_tokens_details":{"reasoning_tokens":"many"}}"#,
        );
        assert_eq!(read, Usage { prompt: Some(3), ..Usage::default() });
    }

    #[test]
    fn what_is_no_object_is_no_usage() {
        for raw in ["null", "[]", "[1,2,3]", "{", "", "3", "{\"prompt_tokens\":1} x"] {
            assert_eq!(Usage::read(raw.as_bytes()), None, "{raw}");
        }
    }

    #[test]
    fn later_figures_override_earlier_ones() {
        let start = usage(r#"{"input_tokens":17,"output_tokens":0}"#);
        let end = usage(r#"{"output_tokens":8}"#);
        let both = start.then(end);
        assert_eq!((both.prompt, both.completion, both.total), (Some(17), Some(8), Some(25)));
    }
}
