//! Remembers the top-level members that matter while the scanner goes by.

use super::{
    Amount, Choices, Cost, Field, FieldValue, Flag, Lax, List, MAX_SCALAR, Member, Members, OptionsObject,
    PeekError, Peeked, Spots, StreamOptions, lax,
};

/// What the scanner is inside of, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Model,
    Stream,
    StreamOptions,
    Amount(Amount),
    List(List),
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OptionKey {
    IncludeUsage,
    ContinuousUsageStats,
    Other,
}

/// The notes taken so far. Depth 1 (members of the body) and 2 (their elements) concern it, and of depth 3 only how
/// many elements a list has.
pub(super) struct Notes {
    key: Key,
    option: OptionKey,
    /// First byte and offset of the value of `key`.
    first: u8,
    start: usize,
    option_start: usize,
    model: Option<Field>,
    saw_model: bool,
    stream: bool,
    stream_options: StreamOptions,
    n: u32,
    /// Elements of the list at hand.
    listed: usize,
    /// Elements of lists inside of it, where it is an object: `{"content": [...]}` stands for a list of documents.
    inner: usize,
    inner_first: u8,
    prompts: usize,
    embeds: usize,
    cost: Cost,
    spot: Spot,
    spots: Spots,
    members: Members,
    has_members: bool,
}

/// Whether it matters where the member at hand stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spot {
    Nowhere,
    System,
    Prompt,
    User,
    PreviousResponse,
    RequestId,
}

impl Notes {
    pub(super) fn new() -> Self {
        Self {
            key: Key::Other,
            option: OptionKey::Other,
            first: 0,
            start: 0,
            option_start: 0,
            model: None,
            saw_model: false,
            stream: false,
            stream_options: StreamOptions::Absent,
            n: 1,
            listed: 0,
            inner: 0,
            inner_first: 0,
            prompts: 0,
            embeds: 0,
            cost: Cost::default(),
            spot: Spot::Nowhere,
            spots: Spots::default(),
            members: Members::default(),
            has_members: false,
        }
    }

    /// Whether the key of an object at this depth should be read.
    pub(super) fn wants_key(&self, depth: u8) -> bool {
        depth == 1 || (depth == 2 && self.key == Key::StreamOptions)
    }

    /// A key was read, quotes included; `None` if it is longer than any that matters.
    pub(super) fn key(&mut self, depth: u8, quoted: Option<&[u8]>, end: usize) -> Result<(), PeekError> {
        let name = quoted.and_then(lax::unescape);
        let name = name.as_deref().unwrap_or_default();
        if depth == 1 {
            self.has_members = true;
            return self.member(name, end);
        }
        if let StreamOptions::Object(options) = &mut self.stream_options {
            options.has_members = true;
        }
        self.option = match name {
            "include_usage" => OptionKey::IncludeUsage,
            "continuous_usage_stats" => OptionKey::ContinuousUsageStats,
            _ => OptionKey::Other,
        };
        Ok(())
    }

    fn member(&mut self, name: &str, end: usize) -> Result<(), PeekError> {
        self.key = match name {
            "model" if self.saw_model => return Err(PeekError::DuplicateModel { at: end }),
            "model" => {
                self.saw_model = true;
                Key::Model
            }
            "stream" => Key::Stream,
            "stream_options" => Key::StreamOptions,
            _ => match (Amount::named(name), List::named(name)) {
                (Some(amount), _) => Key::Amount(amount),
                (_, Some(list)) => Key::List(list),
                (None, None) => Key::Other,
            },
        };
        self.spot = match name {
            "messages" | "prompt" | "input" => Spot::Prompt,
            "system" | "instructions" => Spot::System,
            "user" => Spot::User,
            "previous_response_id" => Spot::PreviousResponse,
            "request_id" => Spot::RequestId,
            _ => Spot::Nowhere,
        };
        match name {
            "messages" => self.members.add(Member::Messages),
            "prompt" => self.members.add(Member::Prompt),
            "prompt_embeds" => self.members.add(Member::PromptEmbeds),
            "input" => self.members.add(Member::Input),
            "query" => self.members.add(Member::Query),
            "documents" => self.members.add(Member::Documents),
            _ => {}
        }
        Ok(())
    }

    /// A value begins. Answers whether its raw bytes should be kept for [`Notes::end`].
    pub(super) fn begin(&mut self, depth: u8, first: u8, at: usize) -> bool {
        match depth {
            1 => self.begin_member(first, at),
            2 => self.begin_element(first, at),
            3 => {
                self.begin_inner(first);
                false
            }
            _ => false,
        }
    }

    fn begin_member(&mut self, first: u8, at: usize) -> bool {
        (self.first, self.start) = (first, at);
        match self.key {
            Key::Model | Key::Stream | Key::Amount(_) => !matches!(first, b'{' | b'['),
            Key::StreamOptions => {
                if first == b'{' {
                    self.stream_options = StreamOptions::Object(OptionsObject {
                        range: at..at,
                        has_members: false,
                        include_usage: None,
                        continuous_usage_stats: None,
                    });
                }
                false
            }
            Key::List(_) => {
                (self.listed, self.inner) = (usize::from(matches!(first, b'"' | b'{')), 0);
                false
            }
            Key::Other => false,
        }
    }

    fn begin_element(&mut self, first: u8, at: usize) -> bool {
        match self.key {
            Key::List(list) => {
                self.inner_first = first;
                self.listed += usize::from(self.first == b'[' && list.counts(first));
            }
            Key::StreamOptions if self.first == b'{' && self.option != OptionKey::Other => {
                (self.option_start, self.inner_first) = (at, first);
                return !matches!(first, b'{' | b'[');
            }
            _ => {}
        }
        false
    }

    fn begin_inner(&mut self, first: u8) {
        if let (Key::List(list), b'{', b'[') = (self.key, self.first, self.inner_first) {
            self.inner += usize::from(list.counts(first));
        }
    }

    /// A value ended. `raw` is `None` if it was not kept or is longer than [`MAX_SCALAR`].
    pub(super) fn end(&mut self, depth: u8, raw: Option<&[u8]>, end: usize) -> Result<(), PeekError> {
        match depth {
            1 => self.end_member(raw, end),
            2 if self.key == Key::StreamOptions && self.first == b'{' => self.end_option(raw, end),
            _ => Ok(()),
        }
    }

    fn end_member(&mut self, raw: Option<&[u8]>, end: usize) -> Result<(), PeekError> {
        let range = self.start..end;
        match self.spot {
            Spot::Nowhere => {}
            Spot::System => self.spots.system = Some(range.clone()),
            Spot::Prompt => self.spots.prompt = Some(range.clone()),
            Spot::User => self.spots.user = Some(range.clone()),
            Spot::PreviousResponse => self.spots.previous_response = Some(range.clone()),
            Spot::RequestId => self.spots.request_id = Some(range.clone()),
        }
        match self.key {
            Key::Model => {
                let value = match self.first {
                    b'n' => FieldValue::Null,
                    b'"' => model_text(raw.ok_or(PeekError::ModelTooLong)?)?,
                    _ => FieldValue::Other,
                };
                self.model = Some(Field { value, range });
            }
            Key::Stream => self.stream = Lax::of_json(scalar("stream", self.first, raw)?).is_true(),
            Key::Amount(amount) => {
                let raw = scalar(amount.name(), self.first, raw)?;
                if amount == Amount::N {
                    self.n = lax::count(raw);
                }
                self.cost.asks(amount, raw, range);
            }
            Key::StreamOptions => match (self.first, &mut self.stream_options) {
                (b'{', StreamOptions::Object(options)) => options.range.end = end,
                (b'n', options) => *options = StreamOptions::Null(range),
                (_, options) => *options = StreamOptions::Other(range),
            },
            Key::List(list) => {
                match list {
                    List::Prompt => self.prompts = self.listed,
                    List::PromptEmbeds => self.embeds = self.listed,
                    _ => {}
                }
                self.cost.lists(list, self.listed.max(self.inner));
            }
            Key::Other => {}
        }
        self.key = Key::Other;
        Ok(())
    }

    fn end_option(&mut self, raw: Option<&[u8]>, end: usize) -> Result<(), PeekError> {
        let StreamOptions::Object(options) = &mut self.stream_options else { return Ok(()) };
        let (name, option) = match self.option {
            OptionKey::IncludeUsage => ("include_usage", &mut options.include_usage),
            OptionKey::ContinuousUsageStats => {
                ("continuous_usage_stats", &mut options.continuous_usage_stats)
            }
            OptionKey::Other => return Ok(()),
        };
        let value = Lax::of_json(scalar(name, self.inner_first, raw)?);
        *option = Some(Flag { value, range: self.option_start..end });
        self.option = OptionKey::Other;
        Ok(())
    }

    pub(super) fn finish(self, close: usize, body_len: usize) -> Peeked {
        let several = self.n > 1 || self.prompts + self.embeds > 1;
        Peeked {
            model: self.model,
            stream: self.stream,
            stream_options: self.stream_options,
            choices: if several { Choices::Several } else { Choices::One },
            n: self.n,
            cost: self.cost,
            spots: self.spots,
            members: self.members,
            body_len,
            close,
            has_members: self.has_members,
        }
    }
}

/// The raw bytes of a value that was kept unless it is an array or an object, which are empty here. Of one that is too
/// long, nobody knows here what vLLM would read in it.
fn scalar<'r>(name: &'static str, first: u8, raw: Option<&'r [u8]>) -> Result<&'r [u8], PeekError> {
    match raw {
        Some(raw) => Ok(raw),
        None if matches!(first, b'{' | b'[') => Ok(&[]),
        None => Err(PeekError::TooLong { name }),
    }
}

fn model_text(quoted: &[u8]) -> Result<FieldValue, PeekError> {
    debug_assert!(quoted.len() <= MAX_SCALAR);
    let text = lax::unescape(quoted).ok_or(PeekError::ModelNotText)?;
    Ok(if text.is_empty() { FieldValue::Empty } else { FieldValue::Text(text.into_owned()) })
}
