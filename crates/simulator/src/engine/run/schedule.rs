//! From being admitted to the first token: a seat, then the prompt.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::{Instant, sleep_until};

use super::{Pulse, Run};
use crate::engine::CacheUse;
use crate::engine::prefill::Work;

impl Run {
    /// Waits for a seat, and runs.
    pub(crate) async fn seat(&mut self) -> Pulse {
        if let Err(end) = self.take_seat().await {
            return end;
        }
        self.runs_from(Instant::now());
        Pulse::Token
    }

    /// Waits for a seat and for those in front, then computes the prompts; says what of them was in the cache.
    ///
    /// Until its prompt's turn it counts as waiting, as with vLLM, which schedules no more prompts than it can compute.
    pub(crate) async fn prefill(&mut self, prompts: &[&[u32]]) -> Result<CacheUse, Pulse> {
        self.take_seat().await?;
        let seated = Instant::now();
        let turn = if self.control.prefill.is_zero() {
            None
        } else {
            let prefill = self.shared.prefill.clone();
            Some(self.unless_it_ends(prefill.turn()).await?)
        };
        let began = turn.as_ref().map_or(seated, |turn| turn.began(seated));
        self.runs_from(began);
        let tokens = prompts.iter().map(|prompt| prompt.len()).sum();
        let mut used = CacheUse::default();
        if let Some(cache) = &self.shared.prefix_cache {
            let (found, held) = cache.take(prompts.iter().copied());
            (used, self.held) = (found, Some(held));
        }
        let metrics = &self.shared.metrics;
        metrics.prompt_tokens.fetch_add(tokens, Relaxed);
        metrics.prefix_hits.fetch_add(used.cached, Relaxed);
        self.hold(tokens);
        if let Some(turn) = turn {
            self.last = self.compute(tokens - used.cached, began).await?;
            turn.done(self.last);
        }
        if let Some(held) = &mut self.held {
            held.computed();
        }
        Ok(used)
    }

    async fn take_seat(&mut self) -> Result<(), Pulse> {
        let (seats, sequences) = (self.shared.seats.clone(), self.sequences);
        self.seat = Some(self.unless_it_ends(seats.take(sequences)).await?);
        Ok(())
    }

    /// Waits for something, or says what ended it meanwhile.
    async fn unless_it_ends<T>(&mut self, waiting: impl Future<Output = T>) -> Result<T, Pulse> {
        let mut waiting = pin!(waiting);
        loop {
            tokio::select! {
                biased;
                done = &mut waiting => return Ok(done),
                _ = self.watch.changed() => {
                    if let Some(end) = self.look() {
                        return Err(end);
                    }
                }
            }
        }
    }

    /// It waits no longer.
    fn runs_from(&mut self, began: Instant) {
        self.shared.metrics.waiting.fetch_sub(1, Relaxed);
        self.shared.metrics.running.fetch_add(1, Relaxed);
        self.scheduled = true;
        (self.seated, self.last) = (began, began);
        self.shared.changed.notify_waiters();
    }

    /// Takes the time that so many tokens of a prompt cost; says when they were done.
    async fn compute(&mut self, tokens: usize, began: Instant) -> Result<Instant, Pulse> {
        let mut work = Work::new(tokens, began);
        loop {
            let pace = (!self.control.is_still()).then_some(self.control.prefill);
            let done = async {
                let Some(pace) = pace else { return pending().await };
                let due = work.due(pace);
                if due > Instant::now() {
                    sleep_until(due).await;
                }
                due
            };
            tokio::select! {
                biased;
                _ = self.watch.changed() => {
                    work.note(pace);
                    if let Some(end) = self.look() {
                        return Err(end);
                    }
                }
                due = done => return Ok(due),
            }
        }
    }
}
