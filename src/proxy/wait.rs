//! Waiting: for the head of an answer, and in the line of an upstream whose endpoints are all busy.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant},
};

use vllm_gateway_fleet::{Key, Turn};
use vllm_gateway_sdk::{Error, Exchange, Outcome};

use super::{
    attempts::{Failure, unfit},
    early::Teller,
};
use crate::{
    gateway::Runtime,
    telemetry::metrics::metrics,
    upstream::{Lease, NoSlot, Upstream},
};

/// How often a request beside the line looks whether an endpoint that can serve it has room.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// What is waited for, or that it did not come in time. An error if the gateway ends meanwhile: then there is still somebody
/// to be told so.
pub(super) async fn until<F: Future>(
    deadline: Instant,
    ex: &mut Exchange,
    mut awaited: Pin<&mut F>,
) -> Result<Option<F::Output>, Error> {
    loop {
        let look = deadline.min(Instant::now() + ex.ending().look());
        match tokio::time::timeout_at(look.into(), awaited.as_mut()).await {
            Ok(output) => return Ok(Some(output)),
            Err(_elapsed) if ex.ending().is_cut() => {
                let error =
                    Error::unavailable("shutting_down", "the gateway is shutting down: ask another one");
                return Err(error.outcome(Outcome::Interrupted));
            }
            Err(_elapsed) if look == deadline => return Ok(None),
            Err(_elapsed) => {}
        }
    }
}

/// How long a request waits in the line, and who tells its client so.
#[derive(Clone, Copy)]
pub(super) struct Patience<'t> {
    pub(super) until: Instant,
    pub(super) teller: Option<&'t Teller>,
}

/// Waits in the line for a slot; none if nobody is left who could be asked. Whoever leaves meanwhile gives up its place.
pub(super) async fn in_line(
    ex: &mut Exchange,
    runtime: &Runtime,
    upstream: &Arc<Upstream>,
    key: &Key,
    patience: Patience<'_>,
) -> Result<Option<Lease>, Failure> {
    let app = ex.facts().consumer().map(Arc::clone);
    let priority = app.as_ref().map_or(0, |app| upstream.priority(app));
    let Ok(place) = upstream.line.join(app.as_ref().map_or("", |app| &app.id), priority) else {
        metrics().turned_away(&upstream.name, "full");
        return Err(crowded());
    };
    // What has become free since it was seen to be full, nobody was told.
    upstream.call_if_there_is_room();
    let Patience { until: deadline, teller } = patience;
    let mut told = Instant::now();
    loop {
        let due = teller.map_or(deadline, |teller| deadline.min(told + teller.every));
        match until(due, ex, pin!(place.turn())).await? {
            Some(Turn::Called) => {}
            Some(Turn::PushedOut) => {
                metrics().turned_away(&upstream.name, "pushed_out");
                return Err(crowded());
            }
            None if due < deadline => {
                teller.iter().for_each(|teller| teller.tell(ex, place.ahead()));
                told = due;
                continue;
            }
            None => {
                metrics().turned_away(&upstream.name, "timeout");
                return Err(crowded());
            }
        }
        // As it stands now: endpoints may have come and gone meanwhile.
        let upstream = runtime.upstream(&upstream.name).unwrap_or_else(|| Arc::clone(upstream));
        let unfit = unfit(ex, &upstream);
        match upstream.slot(key, &unfit) {
            Ok(lease) => {
                place.go();
                upstream.call_if_there_is_room();
                return Ok(Some(lease));
            }
            Err(NoSlot::Full) => place.back_to_the_front(),
            Err(NoSlot::Asleep) => {
                upstream.wake(&unfit);
                place.back_to_the_front();
            }
            Err(NoSlot::Nobody) => return Ok(None),
            Err(NoSlot::NoDescriptor) => return Err(Failure::no_descriptor()),
        }
    }
}

/// Waits for a slot of a request that only some of the endpoints can serve; none if nobody is left who could be asked. It
/// does not stand in the line: whom that calls may go to any endpoint, and this one would be in everybody's way.
pub(super) async fn beside_the_line(
    ex: &mut Exchange,
    runtime: &Runtime,
    upstream: &Arc<Upstream>,
    key: &Key,
    deadline: Instant,
) -> Result<Option<Lease>, Failure> {
    let Some(_place) = upstream.beside_the_line() else {
        metrics().turned_away(&upstream.name, "full");
        return Err(crowded());
    };
    loop {
        let upstream = runtime.upstream(&upstream.name).unwrap_or_else(|| Arc::clone(upstream));
        let unfit = unfit(ex, &upstream);
        match upstream.slot(key, &unfit) {
            Ok(lease) => return Ok(Some(lease)),
            Err(NoSlot::Full) => {}
            Err(NoSlot::Asleep) => upstream.wake(&unfit),
            Err(NoSlot::Nobody) => return Ok(None),
            Err(NoSlot::NoDescriptor) => return Err(Failure::no_descriptor()),
        }
        if Instant::now() >= deadline {
            metrics().turned_away(&upstream.name, "timeout");
            return Err(crowded());
        }
        let _ = until(deadline, ex, pin!(tokio::time::sleep(LOOK))).await?;
    }
}

pub(super) fn crowded() -> Failure {
    let message = "all servers for this model are busy, and too many requests wait for them: try again later";
    Failure::elsewhere(Error::unavailable("overloaded", message).retry_after(2))
}
