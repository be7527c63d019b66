//! The ledger: what each generation cost and how it ended. Billing tests compare against it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// How a generation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// By itself, with this `finish_reason` (`stop`, `length`, `tool_calls`, `abort`).
    Finished(&'static str),
    /// The client left first.
    ClientLeft,
    /// A scripted fault ended it; the fault's spelling.
    Fault(String),
    /// The engine was killed.
    EngineDied,
    /// The simulator closed the connection: it was shut down, or told to hang up.
    HungUp,
}

/// One request to a model: what it asked, got and cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Counts up from 1 in one simulator.
    pub number: u64,
    /// The id in the answer, as `chatcmpl-…`.
    pub id: String,
    /// The path it was asked on.
    pub path: String,
    /// The model name in the answer.
    pub model: String,
    /// Whether it was streamed.
    pub stream: bool,
    /// Tokens of the prompts together.
    pub prompt_tokens: usize,
    /// Tokens generated so far, of all choices together: what the engine spent.
    pub completion_tokens: usize,
    /// How many of them the answer has told of by what was handed to the socket: those of a stream's events so far. For
    /// what is not streamed 0 until the answer is written.
    pub sent_tokens: usize,
    /// When it was asked.
    pub asked_at: Instant,
    /// How and when it ended; `None` while it runs or waits.
    pub ended: Option<(End, Instant)>,
}

/// A generation that may still be running.
#[derive(Debug)]
pub(crate) struct Live {
    fixed: Generation,
    generated: AtomicUsize,
    told: AtomicUsize,
    sent: AtomicUsize,
    ended: Mutex<Option<(End, Instant)>>,
}

impl Live {
    pub(crate) fn add(&self, tokens: usize) {
        self.generated.fetch_add(tokens, Ordering::Relaxed);
    }

    pub(crate) fn generated(&self) -> usize {
        self.generated.load(Ordering::Relaxed)
    }

    /// An event of a stream speaks of so many more tokens.
    pub(crate) fn tell(&self, tokens: usize) {
        self.told.fetch_add(tokens, Ordering::Relaxed);
    }

    /// All events until now have been written.
    pub(crate) fn told_sent(&self) {
        self.sent.store(self.told.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The whole answer has been written.
    pub(crate) fn all_sent(&self) {
        self.sent.store(self.generated(), Ordering::Relaxed);
    }

    /// The first end counts.
    pub(crate) fn end(&self, end: End) -> bool {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let first = ended.is_none();
        if first {
            *ended = Some((end, Instant::now()));
        }
        first
    }

    fn snapshot(&self) -> Generation {
        // The end first: once it is there the counts are final.
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Generation {
            completion_tokens: self.generated(),
            sent_tokens: self.sent.load(Ordering::Relaxed),
            ended,
            ..self.fixed.clone()
        }
    }
}

/// The last generations.
#[derive(Debug)]
pub(crate) struct Ledger {
    keep: usize,
    numbers: AtomicU64,
    lives: Mutex<VecDeque<Arc<Live>>>,
}

impl Ledger {
    pub(crate) fn new(keep: usize) -> Self {
        Self { keep, numbers: AtomicU64::new(0), lives: Mutex::default() }
    }

    pub(crate) fn open(
        &self,
        id: &str,
        path: &str,
        model: &str,
        stream: bool,
        prompt_tokens: usize,
    ) -> Arc<Live> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let fixed = Generation {
            number,
            id: id.to_owned(),
            path: path.to_owned(),
            model: model.to_owned(),
            stream,
            prompt_tokens,
            completion_tokens: 0,
            sent_tokens: 0,
            asked_at: Instant::now(),
            ended: None,
        };
        let live = Arc::new(Live {
            fixed,
            generated: AtomicUsize::new(0),
            told: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            ended: Mutex::new(None),
        });
        if self.keep > 0 {
            let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
            lives.push_back(live.clone());
            if lives.len() > self.keep {
                lives.pop_front();
            }
        }
        live
    }

    pub(crate) fn snapshot(&self) -> Vec<Generation> {
        let lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.iter().map(|live| live.snapshot()).collect()
    }

    pub(crate) fn clear(&self) {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
