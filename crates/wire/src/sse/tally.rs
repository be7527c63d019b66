//! Keeps the last running usage of a stream, unread until somebody asks.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::json::{self, Needle};
use crate::usage::Usage;

/// The longest running usage that is kept raw. A longer one, which no known vLLM writes, is read at once.
const MAX_RAW: usize = 192;

/// vLLM's own bound on `n`; what lies beyond is not counted.
const MAX_CHOICES: usize = 16_384;

static PROMPT: Needle = LazyLock::new(|| Finder::new("\"prompt_tokens\":"));
static COMPLETION: Needle = LazyLock::new(|| Finder::new("\"completion_tokens\":"));
static REASONING: Needle = LazyLock::new(|| Finder::new("\"reasoning_tokens\":"));

/// The last running usage of a stream with one choice.
pub(super) enum Last {
    None,
    Raw { len: u8, bytes: [u8; MAX_RAW] },
    Read(Usage),
}

impl Last {
    pub(super) fn keep(&mut self, raw: &[u8]) {
        let Some(len) = u8::try_from(raw.len()).ok().filter(|_| raw.len() <= MAX_RAW) else {
            if let Some(usage) = Usage::read(raw) {
                *self = Self::Read(usage);
            }
            return;
        };
        if !matches!(self, Self::Raw { .. }) {
            *self = Self::Raw { len: 0, bytes: [0; MAX_RAW] };
        }
        if let Self::Raw { len: kept, bytes } = self {
            bytes[..raw.len()].copy_from_slice(raw);
            *kept = len;
        }
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        match self {
            Self::None => None,
            Self::Raw { len, bytes } => Usage::read(&bytes[..usize::from(*len)]),
            Self::Read(usage) => Some(*usage),
        }
    }

    /// The two figures that are billed by, found without reading the rest: cheap enough for every chunk.
    pub(super) fn figures(&self) -> Option<Usage> {
        match self {
            Self::None => None,
            Self::Raw { len, bytes } => {
                let raw = &bytes[..usize::from(*len)];
                let completion = figure(raw, &COMPLETION).map(u64::from);
                let prompt = figure(raw, &PROMPT).map(u64::from);
                let usage = Usage { prompt, completion, ..Usage::default() };
                (usage != Usage::default()).then(|| usage.with_total())
            }
            Self::Read(usage) => Some(*usage),
        }
    }
}

/// The last figures of each choice, where there are several: each event counts only its own. The sums are kept with
/// every event, so that asking for them costs the same for two choices and for thousands.
#[derive(Default)]
pub(super) struct Choices {
    last: Vec<Figures>,
    /// The prompt of each group of `n` choices.
    prompts: Vec<u32>,
    sum: Sum,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    prompt: u64,
    completion: u64,
    reasoning: Option<u64>,
}

#[derive(Clone, Copy, Default)]
struct Figures {
    prompt: u32,
    completion: u32,
    reasoning: Option<u32>,
}

impl Choices {
    /// Keeps the figures of one choice. The `n` choices of one prompt come one after another and share its tokens.
    pub(super) fn keep(&mut self, index: u32, n: u32, raw: &[u8]) {
        let Some(index) = usize::try_from(index).ok().filter(|&index| index < MAX_CHOICES) else { return };
        let group = index / usize::try_from(n).unwrap_or(usize::MAX).max(1);
        if self.last.len() <= index {
            self.last.resize(index + 1, Figures::default());
        }
        if self.prompts.len() <= group {
            self.prompts.resize(group + 1, 0);
        }
        let new = Figures {
            prompt: figure(raw, &PROMPT).unwrap_or_default(),
            completion: figure(raw, &COMPLETION).unwrap_or_default(),
            reasoning: figure(raw, &REASONING),
        };
        let old = std::mem::replace(&mut self.last[index], new);
        let prompt = &mut self.prompts[group];
        self.sum.prompt += u64::from(new.prompt.saturating_sub(*prompt));
        *prompt = new.prompt.max(*prompt);
        self.sum.completion = self.sum.completion - u64::from(old.completion) + u64::from(new.completion);
        if old.reasoning.or(new.reasoning).is_some() {
            let others =
                self.sum.reasoning.unwrap_or_default() - u64::from(old.reasoning.unwrap_or_default());
            self.sum.reasoning = Some(others + u64::from(new.reasoning.unwrap_or_default()));
        }
    }

    /// The sum over all choices.
    pub(super) fn usage(&self) -> Option<Usage> {
        if self.last.is_empty() {
            return None;
        }
        let Sum { prompt, completion, reasoning } = self.sum;
        let usage = Usage {
            prompt: Some(prompt),
            completion: Some(completion),
            total: None,
            cached: None,
            reasoning,
        };
        Some(usage.with_total())
    }
}

fn figure(raw: &[u8], key: &Finder<'static>) -> Option<u32> {
    let at = key.find(raw)? + key.needle().len();
    json::digits(raw, json::skip_space(raw, at))
}
