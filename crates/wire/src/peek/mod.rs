//! Reads from a JSON request body, as it arrives, the few things that the gateway must know.
//!
//! The body is neither copied nor joined: [`Peek::feed`] takes each network segment as it comes, checks it
//! completely (RFC 8259, UTF-8, depth) and remembers only top-level members that matter and where they stand.
//! `NaN`, `Infinity` and `-Infinity` pass, because vLLM's parser reads them and answers them itself.

mod cost;
mod error;
mod lax;
mod members;
mod scan;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use cost::{Amount, Asked, Cost, LastAsked, List};
pub use error::PeekError;
pub use lax::Lax;
pub use scan::Peek;

/// How many arrays and objects may stand in one another.
pub const MAX_DEPTH: u8 = 64;

/// The longest raw value of `model` (and of the other remembered scalars) that is read, in bytes.
pub const MAX_SCALAR: usize = 4096;

/// What a whole, valid body says at its top level. Positions are byte offsets in the body.
#[derive(Debug, Clone, PartialEq)]
pub struct Peeked {
    /// The member `model`; `None` if there is none.
    pub model: Option<Field>,
    /// Whether vLLM will stream, which it decides as loosely as [`Lax`] says.
    pub stream: bool,
    /// The member `stream_options`.
    pub stream_options: StreamOptions,
    /// Whether the answer may have more than one choice.
    pub choices: Choices,
    /// `n`, the choices of each prompt; 1 if absent.
    pub n: u32,
    /// How much it asks for, and for how many prompts.
    pub cost: Cost,
    /// Where what tells one prompt from another stands.
    pub spots: Spots,
    /// Which of the members that tell the routes apart are there.
    pub members: Members,
    /// Length of the body in bytes.
    pub body_len: usize,
    /// Offset of the `}` that ends the top-level object.
    pub close: usize,
    /// Whether the top-level object has any member.
    pub has_members: bool,
}

impl Peeked {
    /// The model that is asked for; `None` if it is absent, null, empty or not a string.
    pub fn model_name(&self) -> Option<&str> {
        self.model.as_ref().and_then(Field::text)
    }

    /// Whether the client asked for the usage event at the end of its stream.
    pub fn wants_usage(&self) -> bool {
        self.option(|options| options.include_usage.as_ref())
    }

    /// Whether the client asked for running usage in every event. vLLM heeds it only beside `include_usage`.
    pub fn wants_running_usage(&self) -> bool {
        self.wants_usage() && self.option(|options| options.continuous_usage_stats.as_ref())
    }

    fn option(&self, pick: impl Fn(&OptionsObject) -> Option<&Flag>) -> bool {
        match &self.stream_options {
            StreamOptions::Object(options) => pick(options).is_some_and(|flag| flag.value.is_true()),
            _ => false,
        }
    }
}

/// Where the values of some members stand, brackets and quotes included; of those that are given twice, the last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spots {
    /// `system` of Anthropic's API, or `instructions` of `/v1/responses`: a prompt begins with it.
    pub system: Option<Range<usize>>,
    /// `messages`, `prompt` or `input`.
    pub prompt: Option<Range<usize>>,
    /// `user`.
    pub user: Option<Range<usize>>,
    /// `previous_response_id`: the response that this one goes on from.
    pub previous_response: Option<Range<usize>>,
    /// `request_id`: the id that the answer is to have.
    pub request_id: Option<Range<usize>>,
}

/// A member (or form field) that should hold a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// What it holds.
    pub value: FieldValue,
    /// Where its value stands, quotes included in JSON.
    pub range: Range<usize>,
}

impl Field {
    /// The text, if it is one and not empty.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            FieldValue::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// What a [`Field`] holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// JSON `null`.
    Null,
    /// The empty string.
    Empty,
    /// A text of at least one character, unescaped.
    Text(String),
    /// Something that is not a string.
    Other,
}

/// The member `stream_options` of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamOptions {
    /// There is none.
    Absent,
    /// It is `null`, which vLLM takes as absent; where it stands.
    Null(Range<usize>),
    /// It is an object.
    Object(OptionsObject),
    /// It is something that vLLM refuses.
    Other(Range<usize>),
}

/// An object given as `stream_options`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionsObject {
    /// Where it stands, braces included.
    pub range: Range<usize>,
    /// Whether it has any member.
    pub has_members: bool,
    /// `include_usage`; of several the last, as in Python.
    pub include_usage: Option<Flag>,
    /// `continuous_usage_stats`; of several the last.
    pub continuous_usage_stats: Option<Flag>,
}

/// A boolean in the body and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// How vLLM will read it.
    pub value: Lax,
    /// Where its value stands.
    pub range: Range<usize>,
}

/// How many choices an answer can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choices {
    /// One at most.
    One,
    /// `n` is above 1, or several prompts are given.
    Several,
}

/// A top-level member that tells one request shape from another, as `/invocations` must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// `messages`: chat, or Anthropic's messages.
    Messages = 1,
    /// `prompt`: completions.
    Prompt = 2,
    /// `prompt_embeds`: completions.
    PromptEmbeds = 4,
    /// `input`: embeddings, pooling, classify, responses.
    Input = 8,
    /// `query`: rerank.
    Query = 16,
    /// `documents`: rerank and score.
    Documents = 32,
}

/// The set of [`Member`]s that a body has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Members(u8);

impl Members {
    /// Whether the member is there, whatever its value.
    pub fn has(self, member: Member) -> bool {
        self.0 & member as u8 != 0
    }

    fn add(&mut self, member: Member) {
        self.0 |= member as u8;
    }
}
