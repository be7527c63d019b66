//! Reads token figures from a usage object in each of the spellings that vLLM uses.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

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
        if let Some(usage) = plain::read(raw) {
            return Some(usage);
        }
        Self::read_any(raw)
    }

    /// The same, however it is written.
    fn read_any(raw: &[u8]) -> Option<Self> {
        let [
            prompt,
            input,
            completion,
            output,
            total,
            cache_read,
            of_prompt,
            of_input,
            of_completion,
            of_output,
        ] = members(raw, MEMBERS)?;
        let detail = |object: Option<&RawValue>, name| {
            members(object?.get().as_bytes(), [name]).and_then(|[figure]| count(figure))
        };
        let (cached, reasoning) = ("cached_tokens", "reasoning_tokens");
        let usage = Self {
            prompt: count(prompt).or_else(|| count(input)),
            completion: count(completion).or_else(|| count(output)),
            total: count(total),
            cached: (detail(of_prompt, cached).or_else(|| detail(of_input, cached)))
                .or_else(|| count(cache_read)),
            reasoning: detail(of_completion, reasoning).or_else(|| detail(of_output, reasoning)),
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

/// What is read of a usage object, in both spellings.
const MEMBERS: [&str; 10] = [
    "prompt_tokens",
    "input_tokens",
    "completion_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "prompt_tokens_details",
    "input_tokens_details",
    "completion_tokens_details",
    "output_tokens_details",
];

/// A figure; anything that is not a whole number of tokens is none, and spoils nothing beside it.
fn count(raw: Option<&RawValue>) -> Option<u64> {
    let raw = raw?.get();
    raw.parse().ok().or_else(|| whole(raw.parse().ok()?))
}

/// The whole number that a float such as `3.0` or `1e3` stands for.
fn whole(count: f64) -> Option<u64> {
    // 2^53: beyond it a float no longer names one whole number.
    let whole = count.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&count);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and within range")]
    whole.then_some(count as u64)
}

/// The members of these names, as they are written: what one of them holds cannot spoil the others. Of those that
/// stand there twice the last counts, as it does for other readers of JSON. `None` if it is no object.
fn members<'a, const N: usize>(object: &'a [u8], names: [&str; N]) -> Option<[Option<&'a RawValue>; N]> {
    // Most often it is `null`, and an error costs more than all the rest.
    if !object.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let mut reader = serde_json::Deserializer::from_slice(object);
    let found = reader.deserialize_map(Members(names)).ok()?;
    reader.end().ok()?;
    Some(found)
}

struct Members<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(place) = map.next_key_seed(Place(&self.0))? {
            match place.and_then(|place| found.get_mut(place)) {
                Some(member) => *member = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// Where a member's name stands among those that are looked for.
struct Place<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Place<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|sought| *sought == name))
    }
}

/// What vLLM writes for chat and completions, read in one glance: no white space, whole numbers, no details.
mod plain {
    use super::Usage;

    /// The usage, if it is written like this; else nothing is said.
    pub(super) fn read(raw: &[u8]) -> Option<Usage> {
        let mut rest = raw.strip_prefix(b"{")?;
        let mut usage = Usage::default();
        loop {
            rest = member(rest, &mut usage)?;
            rest = match rest {
                [b',', rest @ ..] => rest,
                b"}" => return (usage != Usage::default()).then(|| usage.with_total()),
                _ => return None,
            };
        }
    }

    fn member<'a>(raw: &'a [u8], usage: &mut Usage) -> Option<&'a [u8]> {
        for (key, figure) in [
            (&b"\"prompt_tokens\":"[..], &mut usage.prompt),
            (b"\"total_tokens\":", &mut usage.total),
            (b"\"completion_tokens\":", &mut usage.completion),
        ] {
            if let Some(rest) = raw.strip_prefix(key) {
                let (number, rest) = number(rest)?;
                *figure = Some(number);
                return Some(rest);
            }
        }
        let nothing = [&b"\"prompt_tokens_details\":null"[..], b"\"completion_tokens_details\":null"];
        nothing.into_iter().find_map(|nothing| raw.strip_prefix(nothing))
    }

    /// A number without sign and leading zero, too short to overflow.
    fn number(raw: &[u8]) -> Option<(u64, &[u8])> {
        let length = raw.iter().take(16).take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = raw.split_at_checked(length)?;
        let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
        (matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && length < 16).then_some((number, rest))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn usage(raw: &str) -> Usage {
        Usage::read(raw.as_bytes()).unwrap()
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_in_one_glance_is_read_the_same_at_leisure(
            members in proptest::collection::vec(
                (
                    proptest::sample::select(vec![
                        "prompt_tokens", "total_tokens", "completion_tokens", "prompt_tokens_details",
                        "completion_tokens_details", "other",
                    ]),
                    proptest::sample::select(vec![
                        "0", "7", "25", "007", "-1", "1.0", "1e2", "null", "{}", "99999999999999999999",
                        "999999999999999", "\"3\"", "{\"cached_tokens\":4}",
                    ]),
                ),
                0..5,
            ),
            space in proptest::sample::select(vec!["", " "]),
        ) {
            let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\":{space}{value}")).collect();
            let raw = format!("{{{}}}", members.join(","));
            proptest::prop_assert_eq!(Usage::read(raw.as_bytes()), Usage::read_any(raw.as_bytes()), "{}", raw);
        }
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
    fn a_figure_that_no_number_can_hold_spoils_nothing_beside_it() {
        for bad in ["1e400", "-1e400", "99999999999999999999999", "3.5", "true", "\"7\"", "\"inf\""] {
            let bad = format!(
                r#"{{"prompt_tokens":{bad},"completion_tokens":1,"x":{bad},"prompt_tokens_details":{{"x":{bad},"cached_tokens":2}}}}"#
            );
            let expected = Usage { completion: Some(1), cached: Some(2), ..Usage::default() };
            assert_eq!(usage(&bad), expected, "{bad}");
        }
    }

    #[test]
    fn of_members_that_stand_there_twice_the_last_counts() {
        let read = usage(
            r#"{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":1,"cached_tokens":2},"completion_tokens":5,"completion_tokens":6,"prompt_tokens":3,"total_tokens":9,"total_tokens":null}"#,
        );
        let expected = Usage { prompt: Some(3), completion: Some(6), cached: Some(2), ..Usage::default() };
        assert_eq!(read, expected.with_total());
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
