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
}

/// The last figures of each choice, where there are several: each event counts only its own.
#[derive(Default)]
pub(super) struct Choices(Vec<Figures>);

#[derive(Clone, Copy, Default)]
struct Figures {
    seen: bool,
    prompt: u32,
    completion: u32,
    reasoning: Option<u32>,
}

impl Choices {
    pub(super) fn keep(&mut self, index: u32, raw: &[u8]) {
        let Some(index) = usize::try_from(index).ok().filter(|&index| index < MAX_CHOICES) else { return };
        if self.0.len() <= index {
            self.0.resize(index + 1, Figures::default());
        }
        self.0[index] = Figures {
            seen: true,
            prompt: figure(raw, &PROMPT).unwrap_or_default(),
            completion: figure(raw, &COMPLETION).unwrap_or_default(),
            reasoning: figure(raw, &REASONING),
        };
    }

    /// The sum over all choices. The `n` choices of one prompt come one after another and share its tokens.
    pub(super) fn usage(&self, n: u32) -> Option<Usage> {
        let seen = || self.0.iter().filter(|figures| figures.seen);
        seen().next()?;
        let n = usize::try_from(n).unwrap_or(usize::MAX).max(1);
        let prompts = self.0.chunks(n).filter_map(|group| group.iter().map(|choice| choice.prompt).max());
        let reasoning = seen().filter_map(|choice| choice.reasoning);
        let usage = Usage {
            prompt: Some(prompts.map(u64::from).sum()),
            completion: Some(seen().map(|choice| u64::from(choice.completion)).sum()),
            total: None,
            cached: None,
            reasoning: reasoning.map(u64::from).reduce(|sum, tokens| sum + tokens),
        };
        Some(usage.with_total())
    }
}

fn figure(raw: &[u8], key: &Finder<'static>) -> Option<u32> {
    let at = key.find(raw)? + key.needle().len();
    json::digits(raw, json::skip_space(raw, at))
}
