//! The loops: tokens of all choices in turn, at the engine's pace, into a stream or an answer.

use std::future::pending;

use super::{Choice, Delta, Job};
use crate::api::{Cx, Stop};
use crate::engine::{Pulse, Run, with_comments};
use crate::error::{ApiError, ENGINE_DIED};
use crate::fault::After;
use crate::http1::{Interrupt, Wire};
use crate::ledger::End;

/// At full speed so many bytes are collected before they are written together.
const FLUSH_AT: usize = 16 * 1024;

/// How a route spells the events of its streams.
pub(crate) trait Dialect {
    /// What comes before the first token, together with it.
    fn open(
        &mut self,
        cx: &Cx<'_>,
        job: &Job,
        choices: &[Choice],
        wire: &mut Wire<'_>,
    ) -> Result<(), Interrupt>;

    /// What a choice has to tell; its last event when the choice has a finish.
    fn tell(
        &mut self,
        cx: &Cx<'_>,
        job: &Job,
        choice: &Choice,
        delta: &Delta,
        wire: &mut Wire<'_>,
    ) -> Result<(), Interrupt>;

    /// What comes after the last choice has ended.
    fn close(
        &mut self,
        cx: &Cx<'_>,
        job: &Job,
        choices: &[Choice],
        run: &Run,
        wire: &mut Wire<'_>,
    ) -> Result<(), Interrupt>;
}

/// Admits a job, or says why not (before any head is written).
fn admit(cx: &Cx<'_>, job: &Job, choices: usize) -> Result<Run, ApiError> {
    let open = || cx.shared.ledger.open(&job.id, &cx.head.path, &job.model, job.stream, job.prompt_tokens());
    Run::admit(cx.shared, open, choices)
}

/// Waits until the prompts are computed, and for the first token.
async fn begin(job: &mut Job, run: &mut Run) -> Pulse {
    let prompts: Vec<&[u32]> = job.prompts.iter().map(|prompt| prompt.tokens.as_slice()).collect();
    match run.prefill(&prompts).await {
        Ok(used) => job.cache = used,
        Err(end) => return end,
    }
    run.tick(1).await
}

/// Streams a job.
pub(crate) async fn stream(
    cx: &Cx<'_>,
    mut job: Job,
    dialect: &mut impl Dialect,
    wire: &mut Wire<'_>,
) -> Result<(), Stop> {
    let mut choices = job.choices(cx);
    let mut run = admit(cx, &job, choices.len())?;
    let streamed = stream_choices(cx, &mut job, &mut choices, &mut run, dialect, wire).await;
    if let Err(Interrupt::Trip(after)) = streamed {
        run.end(End::Fault(cx.plan.names.clone()));
        wire.flush().await?;
        run.live.told_sent();
        if after == After::Hang {
            // Held until the client gives up, as a stuck engine would hold it.
            pending::<()>().await;
        }
    }
    Ok(streamed?)
}

async fn stream_choices(
    cx: &Cx<'_>,
    job: &mut Job,
    choices: &mut [Choice],
    run: &mut Run,
    dialect: &mut impl Dialect,
    wire: &mut Wire<'_>,
) -> Result<(), Interrupt> {
    let per_event = u32::try_from(cx.shared.options.tokens_per_event).unwrap_or(u32::MAX).max(1);
    let comments = cx.shared.options.sse_keep_alive_interval;
    wire.start_events().await?;
    let mut pulse = with_comments(wire, comments, begin(job, run)).await?;
    let job = &*job;
    let mut delta = Delta::default();
    let mut opened = false;
    loop {
        let mut told = Ok(());
        if pulse == Pulse::Died {
            run.end(End::EngineDied);
            return wire.finish_with_error(ENGINE_DIED).await;
        }
        if !opened {
            opened = true;
            told = dialect.open(cx, job, choices, wire);
        }
        for choice in choices.iter_mut().filter(|choice| !choice.told) {
            if told.is_err() {
                break;
            }
            if pulse == Pulse::Abort {
                choice.abort(&mut delta);
            } else {
                choice.advance(&mut delta, per_event);
                run.generated(delta.tokens);
                choice.untold += delta.tokens;
            }
            choice.told = choice.finish.is_some();
            if choice.told || !delta.text.is_empty() || (job.token_ids && !delta.ids.is_empty()) {
                told = dialect.tell(cx, job, choice, &delta, wire);
                if told.is_ok() {
                    run.live.tell(std::mem::take(&mut choice.untold));
                } else {
                    choice.told = false;
                }
            }
        }
        match told {
            Ok(()) => {}
            // The fault ends the generation and not the stream.
            Err(Interrupt::Trip(After::Abort)) => {
                pulse = Pulse::Abort;
                continue;
            }
            Err(interrupt) => return Err(interrupt),
        }
        if choices.iter().all(|choice| choice.told) {
            break;
        }
        let due = run.is_due(per_event);
        if !due || wire.waiting() >= FLUSH_AT {
            wire.flush().await?;
            run.live.told_sent();
            if due {
                // A reader that is always ready must not keep the others from their turn.
                tokio::task::yield_now().await;
            }
        }
        pulse = with_comments(wire, comments, run.tick(per_event)).await?;
    }
    dialect.close(cx, job, choices, run, wire)?;
    run.end(End::Finished(overall(choices)));
    wire.finish_events().await?;
    run.live.all_sent();
    Ok(())
}

/// Generates a job to its end, for an answer that is written at once.
pub(crate) async fn complete(cx: &Cx<'_>, mut job: Job) -> Result<(Job, Vec<Choice>, Run), Stop> {
    let mut choices = job.choices(cx);
    let mut run = admit(cx, &job, choices.len())?;
    let aborts_at = cx.plan.after.and_then(|(tokens, after)| (after == After::Abort).then_some(tokens));
    let mut pulse = begin(&mut job, &mut run).await;
    let mut delta = Delta::default();
    for round in 0.. {
        if pulse == Pulse::Died {
            run.end(End::EngineDied);
            return Err(ApiError::internal(ENGINE_DIED).into());
        }
        let aborted = pulse == Pulse::Abort || aborts_at == Some(round);
        for choice in choices.iter_mut().filter(|choice| choice.finish.is_none()) {
            if aborted {
                choice.abort(&mut delta);
            } else {
                choice.advance(&mut delta, 1);
                run.generated(delta.tokens);
            }
            choice.keep(&delta);
        }
        if choices.iter().all(|choice| choice.finish.is_some()) {
            break;
        }
        if round % 256 == 255 {
            tokio::task::yield_now().await;
        }
        pulse = run.tick(1).await;
    }
    run.end(End::Finished(overall(&choices)));
    Ok((job, choices, run))
}

/// How a request ended whose choices may have ended differently.
fn overall(choices: &[Choice]) -> &'static str {
    let ended = |reason: &'static str| {
        choices.iter().any(|choice| choice.finish.as_ref().is_some_and(|finish| finish.reason == reason))
    };
    ["abort", "length"].into_iter().find(|reason| ended(reason)).unwrap_or("stop")
}
