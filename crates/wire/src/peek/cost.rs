//! What a body says of its cost: how much it asks for, and for how many prompts.

use std::ops::Range;

use super::lax;

/// A member that asks for an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// `max_tokens`: chat, completions, Anthropic's messages.
    MaxTokens,
    /// `max_completion_tokens`: chat.
    MaxCompletionTokens,
    /// `max_output_tokens`: responses.
    MaxOutputTokens,
    /// `n`: choices for each prompt.
    N,
    /// `best_of`: choices that are generated for each prompt, of which the best are kept.
    BestOf,
}

impl Amount {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::MaxTokens, Self::MaxCompletionTokens, Self::MaxOutputTokens, Self::N, Self::BestOf];

    /// Its key in the body.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::MaxOutputTokens => "max_output_tokens",
            Self::N => "n",
            Self::BestOf => "best_of",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|amount| amount.name() == name)
    }
}

/// A member that may hold many prompts, inputs or documents at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `prompt`: completions.
    Prompt,
    /// `prompt_embeds`: completions, beside `prompt`.
    PromptEmbeds,
    /// `messages`: where they are lists themselves, each is a conversation.
    Messages,
    /// `input`: embeddings, pooling, classify.
    Input,
    /// `documents`: rerank and score.
    Documents,
    /// `queries`: score.
    Queries,
    /// `items`: generative scoring and score.
    Items,
    /// `text_1`: score.
    Text1,
    /// `text_2`: score.
    Text2,
    /// `data_1`: score.
    Data1,
    /// `data_2`: score.
    Data2,
    /// `texts`: Cohere's embed.
    Texts,
    /// `images`: Cohere's embed.
    Images,
    /// `inputs`: Cohere's embed.
    Inputs,
}

impl List {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Prompt,
        Self::PromptEmbeds,
        Self::Messages,
        Self::Input,
        Self::Documents,
        Self::Queries,
        Self::Items,
        Self::Text1,
        Self::Text2,
        Self::Data1,
        Self::Data2,
        Self::Texts,
        Self::Images,
        Self::Inputs,
    ];

    /// Its key in the body.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::PromptEmbeds => "prompt_embeds",
            Self::Messages => "messages",
            Self::Input => "input",
            Self::Documents => "documents",
            Self::Queries => "queries",
            Self::Items => "items",
            Self::Text1 => "text_1",
            Self::Text2 => "text_2",
            Self::Data1 => "data_1",
            Self::Data2 => "data_2",
            Self::Texts => "texts",
            Self::Images => "images",
            Self::Inputs => "inputs",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|list| list.name() == name)
    }

    /// Whether an element that begins with this byte is one of those that are counted. A list of numbers is one
    /// prompt of token ids; a message is none.
    pub(crate) fn counts(self, first: u8) -> bool {
        match self {
            Self::Messages => first == b'[',
            _ => matches!(first, b'"' | b'[' | b'{'),
        }
    }
}

/// What a body asks for in one member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The most that it asks for in any place where the key stands, so that it does not matter which of them is
    /// heeded. Rounded up; [`u64::MAX`] also for what cannot be read as an amount. `None` if the key is not there,
    /// or every time null.
    pub most: Option<u64>,
    /// The last one, which is the one that counts in Python.
    pub last: Option<LastAsked>,
}

/// Where a member stands for the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastAsked {
    /// What it asks for; `None` if it is null.
    pub value: Option<u64>,
    /// Where its value stands.
    pub range: Range<usize>,
}

impl Asked {
    /// Whether the body leaves it to the server: the key is not there, or null.
    pub fn is_open(&self) -> bool {
        self.last.as_ref().is_none_or(|last| last.value.is_none())
    }

    /// The same, or the last one is 0.
    pub fn is_zero_or_open(&self) -> bool {
        self.last.as_ref().and_then(|last| last.value).is_none_or(|value| value == 0)
    }
}

/// What a body says of its cost. Where a key stands several times, the largest counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cost {
    amounts: [Asked; Amount::ALL.len()],
    lists: [usize; List::ALL.len()],
}

impl Cost {
    /// What it asks for in this member.
    pub fn amount(&self, amount: Amount) -> &Asked {
        &self.amounts[amount as usize]
    }

    /// How many strings, lists and objects this member holds; 1 if it is a string or an object itself.
    pub fn listed(&self, list: List) -> usize {
        self.lists[list as usize]
    }

    pub(super) fn asks(&mut self, amount: Amount, raw: &[u8], range: Range<usize>) {
        self.note(amount, lax::amount(raw), range);
    }

    /// The same of a form's field, which is a text.
    pub(crate) fn asks_in_form(&mut self, amount: Amount, text: &[u8], range: Range<usize>) {
        self.note(amount, Some(lax::amount_of_text(text)), range);
    }

    fn note(&mut self, amount: Amount, value: Option<u64>, range: Range<usize>) {
        let asked = &mut self.amounts[amount as usize];
        asked.most = asked.most.max(value);
        asked.last = Some(LastAsked { value, range });
    }

    pub(super) fn lists(&mut self, list: List, count: usize) {
        let most = &mut self.lists[list as usize];
        *most = count.max(*most);
    }
}
