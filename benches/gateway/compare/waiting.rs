//! Waiting for clients, who may find a fault or never come to an end.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use tokio::{task::JoinError, time::timeout};

use super::client::{Crowd, Tally, Times};

/// How long all clients together may wait for the beginning of their first answers, and for the end of their last.
const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until each client has seen something.
pub(crate) async fn begun(tasks: &mut Crowd, tally: &Tally, clients: usize) -> Result<(), String> {
    let since = Instant::now();
    let begun = || tally.begun.load(Relaxed);
    while begun() < clients as u64 {
        if since.elapsed() > PATIENCE {
            return Err(format!("after two minutes, {} of {clients} answers have begun", begun()));
        }
        watch(tasks, Duration::from_millis(5)).await?;
    }
    Ok(())
}

/// Lets the clients work for so long. None of them ends by itself, unless it has found a fault.
pub(crate) async fn watch(tasks: &mut Crowd, length: Duration) -> Result<(), String> {
    match timeout(length, tasks.join_next()).await {
        Ok(Some(ended)) => times_of(ended).and(Err("a client has ended before it was told to".to_owned())),
        _ => Ok(()),
    }
}

/// Waits for the end of answers that are the last, and gives the times of all, the shortest first.
pub(crate) async fn all_times(mut tasks: Crowd) -> Result<Vec<u64>, String> {
    let mut whole = Vec::new();
    let all_end = async {
        while let Some(ended) = tasks.join_next().await {
            whole.extend(times_of(ended)?.whole);
        }
        Ok::<_, String>(())
    };
    timeout(PATIENCE, all_end).await.map_err(|_| "two minutes later, some answers have not ended")??;
    whole.sort_unstable();
    Ok(whole)
}

/// Of a client that has ended, one that could make nothing of its answer among them.
pub(crate) fn times_of(ended: Result<Result<Times, String>, JoinError>) -> Result<Times, String> {
    ended.unwrap_or_else(|panicked| {
        let said = panicked.into_panic();
        let said =
            said.downcast::<String>().map_or_else(|_| "a client has panicked".to_owned(), |said| *said);
        Err(said)
    })
}
