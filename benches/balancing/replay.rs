//! One run: a trace against a fleet behind a gateway.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    client::Caller,
    figures::{Figures, Sample},
    fleet::Fleet,
    gateway::Gateway,
    machine::Spent,
    outcome::Outcome,
    trace::Trace,
};

/// How long requests may go on after the last one has arrived.
const LEFT: Duration = Duration::from_secs(60);

/// Replays the trace and says what came of it.
pub(crate) async fn replay(trace: &Trace, fleet: &Fleet, gateway: &Gateway) -> Result<Figures, String> {
    let caller = Arc::new(Caller::new(&gateway.url, &gateway.key)?);
    let processes = [std::process::id(), gateway.id()];
    let spent = Spent::by(&processes);
    let begun = Instant::now() + Duration::from_millis(100);
    let (outcomes, samples) =
        tokio::join!(send_all(trace, &caller, begun), watch(trace, fleet, &caller, begun),);
    Ok(Figures::of(trace, &outcomes, &samples, spent.until_now(&processes)))
}

/// Sends each request when it is due, whatever became of those before it.
async fn send_all(trace: &Trace, caller: &Arc<Caller>, begun: Instant) -> Vec<Outcome> {
    let deadline = begun + trace.warm_up + trace.measured + LEFT;
    let mut running = JoinSet::new();
    for arrival in &trace.arrivals {
        sleep_until(begun + arrival.at).await;
        let (caller, arrival) = (Arc::clone(caller), Arc::clone(arrival));
        running.spawn(async move { caller.ask(&arrival, begun, deadline).await });
    }
    running.join_all().await
}

/// Lets happen what is to happen, and counts at the ends of the three thirds.
async fn watch(trace: &Trace, fleet: &Fleet, caller: &Caller, begun: Instant) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (number, edge) in trace.edges().into_iter().enumerate() {
        sleep_until(begun + edge).await;
        samples.push(Sample {
            tokens: caller.tokens.load(Ordering::Relaxed),
            cache: fleet.cache(),
            shares: fleet.shares(),
        });
        match (number, trace.kind.mishap()) {
            (1, Some(mishap)) => fleet.begin(mishap).await,
            (2, Some(mishap)) => fleet.end(mishap).await,
            _ => {}
        }
    }
    samples
}
