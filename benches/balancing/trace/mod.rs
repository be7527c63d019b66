//! Traces: which request arrives when, the same for every policy.

mod shared;
mod unrelated;
mod words;

use std::{sync::Arc, time::Duration};

use crate::fleet::Mishap;

/// The model that all ask for.
pub(crate) const MODEL: &str = "Qwen3-32B";

/// The traces by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Shared,
    Unrelated,
    Slow,
    Dead,
}

/// One request.
pub(crate) struct Arrival {
    pub(crate) at: Duration,
    pub(crate) session: String,
    pub(crate) body: String,
    /// Tokens of its prompt, about.
    prompt: usize,
    /// Tokens of its answer.
    answer: usize,
}

pub(crate) struct Trace {
    pub(crate) kind: Kind,
    /// What comes before this fills caches and is not measured.
    pub(crate) warm_up: Duration,
    /// How long is measured behind it.
    pub(crate) measured: Duration,
    pub(crate) arrivals: Vec<Arc<Arrival>>,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Shared, Self::Unrelated, Self::Slow, Self::Dead];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Unrelated => "unrelated",
            Self::Slow => "slow",
            Self::Dead => "dead",
        }
    }

    pub(crate) fn named(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            format!("`{name}` is no trace; there are {}", Self::ALL.map(Self::name).join(", "))
        })
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Shared => "`shared`: few prompts that many begin with, and conversations that grow",
            Self::Unrelated => {
                "`unrelated`: short prompts that have nothing in common, a tenth of the answers long"
            }
            Self::Slow => {
                "`slow`: `shared`, and in its second third one of the eight takes ten times as long"
            }
            Self::Dead => "`dead`: `shared`, and in its second third one of the eight is dead",
        }
    }

    pub(crate) fn mishap(self) -> Option<Mishap> {
        match self {
            Self::Shared | Self::Unrelated => None,
            Self::Slow => Some(Mishap::Slow),
            Self::Dead => Some(Mishap::Dead),
        }
    }
}

impl Trace {
    pub(crate) fn new(kind: Kind, rate: f64, measured: Duration, seed: u64) -> Self {
        let warm_up = measured / 4;
        let all = warm_up + measured;
        let mut arrivals = match kind {
            Kind::Unrelated => unrelated::arrivals(rate, all, seed),
            Kind::Shared | Kind::Slow | Kind::Dead => shared::arrivals(rate, all, seed),
        };
        arrivals.sort_by_key(|arrival| arrival.at);
        Self { kind, warm_up, measured, arrivals: arrivals.into_iter().map(Arc::new).collect() }
    }

    /// The three thirds of what is measured: their ends, the start first.
    pub(crate) fn edges(&self) -> [Duration; 4] {
        [0, 1, 2, 3].map(|third| self.warm_up + self.measured * third / 3)
    }

    pub(crate) fn mean_prompt(&self) -> f64 {
        self.mean(|arrival| arrival.prompt)
    }

    pub(crate) fn mean_answer(&self) -> f64 {
        self.mean(|arrival| arrival.answer)
    }

    fn mean(&self, of: impl Fn(&Arrival) -> usize) -> f64 {
        self.arrivals.iter().map(|arrival| of(arrival)).sum::<usize>() as f64
            / self.arrivals.len().max(1) as f64
    }

    /// What the trace is, in figures.
    pub(crate) fn described(&self) -> String {
        let seconds = (self.warm_up + self.measured).as_secs_f64();
        format!(
            "{} requests, {:.1} a second; prompts of {:.0} tokens, answers of {:.0} on average",
            self.arrivals.len(),
            self.arrivals.len() as f64 / seconds,
            self.mean_prompt(),
            self.mean_answer()
        )
    }
}

/// A streamed request; messages are role and text.
fn body(messages: &[(&str, &str)], answer: usize) -> String {
    // The words need no escaping.
    let messages: Vec<String> =
        messages.iter().map(|(role, text)| format!(r#"{{"role":"{role}","content":"{text}"}}"#)).collect();
    format!(
        r#"{{"model":"{MODEL}","messages":[{}],"max_tokens":{answer},"ignore_eos":true,"stream":true}}"#,
        messages.join(",")
    )
}
