//! One choice: its tokens, one after the other, until something ends it.

use std::sync::Arc;

use super::Job;
use crate::text::{Random, append, tokenize, words};

/// Why a choice ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finish {
    /// `stop`, `length`, `abort`.
    pub(crate) reason: &'static str,
    /// The stop string that was met.
    pub(crate) stop: Option<String>,
}

/// What a choice has to tell since the last time.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    pub(crate) text: String,
    /// The tokens, with the text of each.
    pub(crate) ids: Vec<u32>,
    pub(crate) tokens: usize,
    pub(crate) reasoning: bool,
}

impl Delta {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.ids.clear();
        self.tokens = 0;
    }
}

/// Where tokens come from.
#[derive(Debug)]
enum Source {
    Drawn(Random),
    Written { ids: Arc<[u32]>, at: usize, left_over: Vec<u8> },
}

/// One of the answers that were asked for.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) index: usize,
    /// The number of its prompt.
    pub(crate) prompt: usize,
    /// Tokens so far.
    pub(crate) tokens: usize,
    /// How many of them no event has told of yet.
    pub(crate) untold: usize,
    /// How many of them were reasoning.
    pub(crate) reasoning_tokens: usize,
    /// All of its text and ids, collected for answers that are not streamed.
    pub(crate) text: String,
    pub(crate) reasoning_text: String,
    pub(crate) ids: Vec<u32>,
    pub(crate) finish: Option<Finish>,
    /// The last event has been told.
    pub(crate) told: bool,
    source: Source,
    /// The end token's number, counted from 1; 0 is never.
    ends_at: usize,
    max: usize,
    min: usize,
    reasoning: usize,
    stop: Vec<String>,
    include_stop: bool,
    /// Text that may still turn out to begin a stop string.
    held: String,
}

impl Choice {
    pub(crate) fn new(index: usize, prompt: usize, seed: u64, max: usize, usual: usize, job: &Job) -> Self {
        let limits = &job.limits;
        let (source, ends_at) = match &job.script {
            Some(text) => {
                let ids: Arc<[u32]> = tokenize(text).into();
                let ends_at = ids.len() + 1;
                (Source::Written { ids, at: 0, left_over: Vec::new() }, ends_at)
            }
            None if limits.ignore_eos => (Source::Drawn(Random::new(seed)), 0),
            None => (Source::Drawn(Random::new(seed)), usual.max(limits.min_tokens + 1).max(1)),
        };
        Self {
            index,
            prompt,
            tokens: 0,
            untold: 0,
            reasoning_tokens: 0,
            text: String::new(),
            reasoning_text: String::new(),
            ids: Vec::new(),
            finish: None,
            told: false,
            source,
            ends_at,
            max,
            min: limits.min_tokens,
            reasoning: job.reasoning.unwrap_or(0),
            stop: limits.stop.clone(),
            include_stop: limits.include_stop,
            held: String::new(),
        }
    }

    /// Generates up to `tokens` tokens into `delta`, which ends where reasoning does.
    pub(crate) fn advance(&mut self, delta: &mut Delta, tokens: u32) {
        delta.clear();
        delta.reasoning = self.tokens < self.reasoning;
        for _ in 0..tokens.max(1) {
            if self.finish.is_some() || delta.reasoning != (self.tokens < self.reasoning) {
                break;
            }
            self.step(delta);
        }
    }

    fn step(&mut self, delta: &mut Delta) {
        self.tokens += 1;
        delta.tokens += 1;
        self.reasoning_tokens += usize::from(delta.reasoning);
        if self.tokens == self.ends_at {
            // The end token has no text of its own.
            self.end(delta, Finish { reason: "stop", stop: None });
            return;
        }
        self.draw(delta);
        if self.tokens >= self.min && self.meets_stop(delta) {
            return;
        }
        if self.tokens >= self.max {
            self.end(delta, Finish { reason: "length", stop: None });
        }
    }

    fn draw(&mut self, delta: &mut Delta) {
        let text = if self.stop.is_empty() { &mut delta.text } else { &mut self.held };
        match &mut self.source {
            Source::Drawn(random) => {
                let (first, words) = words();
                let index = random.below(words.len());
                text.push_str(words[index]);
                delta.ids.push(first + u32::try_from(index).unwrap_or(0));
            }
            Source::Written { ids, at, left_over } => {
                let Some(&id) = ids.get(*at) else { return };
                *at += 1;
                delta.ids.push(id);
                append(id, left_over);
                // A token may end within a character; its text comes with the next one, as with vLLM.
                if let Ok(whole) = std::str::from_utf8(left_over) {
                    text.push_str(whole);
                    left_over.clear();
                }
            }
        }
    }

    /// Lets text go that cannot belong to a stop string any more; says whether one has been met.
    fn meets_stop(&mut self, delta: &mut Delta) -> bool {
        if self.stop.is_empty() {
            return false;
        }
        let met = self
            .stop
            .iter()
            .filter_map(|stop| self.held.find(stop).map(|at| (at, stop)))
            .min_by_key(|(at, _)| *at);
        if let Some((at, stop)) = met {
            let end = if self.include_stop { at + stop.len() } else { at };
            delta.text.push_str(&self.held[..end]);
            self.finish = Some(Finish { reason: "stop", stop: Some(stop.clone()) });
            self.held.clear();
            return true;
        }
        let longest = self.stop.iter().map(String::len).max().unwrap_or(1);
        let safe = self.held.floor_char_boundary((self.held.len() + 1).saturating_sub(longest));
        delta.text.extend(self.held.drain(..safe));
        false
    }

    /// Ends it here, whatever it was about to say.
    pub(crate) fn abort(&mut self, delta: &mut Delta) {
        delta.clear();
        self.end(delta, Finish { reason: "abort", stop: None });
    }

    fn end(&mut self, delta: &mut Delta, finish: Finish) {
        delta.text.push_str(&std::mem::take(&mut self.held));
        self.finish = Some(finish);
    }

    /// Keeps what `delta` holds, for an answer that is written at the end.
    pub(crate) fn keep(&mut self, delta: &Delta) {
        let text = if delta.reasoning { &mut self.reasoning_text } else { &mut self.text };
        text.push_str(&delta.text);
        self.ids.extend_from_slice(&delta.ids);
    }
}
