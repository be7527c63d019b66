//! Copies of requests for mirrors: each is sent once, and nobody waits for its answer, which is read and dropped.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use futures_util::StreamExt;
use vllm_gateway_fleet::Tried;
use vllm_gateway_sdk::{Error, Exchange, Mirror, RequestBody};

use super::{
    attempts,
    dispatch::{Answered, respond},
    plan::Plan,
};
use crate::{
    gateway::{Room, Runtime},
    telemetry::metrics::metrics,
    upstream::{CopyPlace, Lease, Upstream},
};

/// Sends a copy to the mirror, if the request has one: once, when its own upstream is about to be called. A request for
/// which there is no room there is not copied either: a crowd must not double itself.
///
/// Whatever becomes of the copy, the request knows nothing of it. So nothing is waited for here: a copy for which there is
/// no room is not sent.
pub(super) fn mirror(ex: &mut Exchange, runtime: &Runtime, body: &RequestBody) {
    let Some(mirror) = ex.take_mirror() else { return };
    // What a server keeps would be kept twice, and nobody could ask the mirror for it.
    if !ex.route().stateless {
        return;
    }
    let prepared = catch_unwind(AssertUnwindSafe(|| Prepared::take(ex, &mirror, runtime, body)));
    let Ok(prepared) = prepared else {
        return tracing::error!(request_id = ex.facts().request_id(), "a copy could not be prepared");
    };
    let result = if prepared.is_some() { "sent" } else { "skipped" };
    metrics().mirrored(&mirror.upstream, result);
    if let Some((copy, room)) = prepared {
        tokio::spawn(copy.run_in(room));
    }
}

/// A copy that is ready to be sent.
struct Prepared {
    ex: Box<Exchange>,
    /// What is sent. If it could not be made, that stands in the copy's record.
    plan: Result<Plan, Error>,
    upstream: Arc<Upstream>,
    lease: Lease,
    _place: CopyPlace,
}

impl Prepared {
    /// Takes what a copy needs. None if it cannot be had at once, from the room in memory to that in the log.
    fn take(ex: &Exchange, mirror: &Mirror, runtime: &Runtime, body: &RequestBody) -> Option<(Self, Room)> {
        // What begins while the gateway ends would only be cut off.
        if ex.ending().has_begun() {
            return None;
        }
        let upstream = runtime.upstream(&mirror.upstream)?;
        let room = runtime.copies.room(body.len())?;
        let place = upstream.place_for_a_copy()?;
        // Requests that wait there come first.
        if !upstream.line.is_empty() {
            return None;
        }
        let lease = upstream.slot(&upstream.key(ex, body), &Tried::default()).ok()?;
        let mut ex = Box::new(ex.mirrored(mirror).ok()?);
        let plan = ex.before_upstream().and_then(|()| Plan::new(&ex, body, &upstream));
        Some((Self { ex, plan, upstream, lease, _place: place }, room))
    }

    /// Runs to its end, or until it is cut off, which its exchange notes when it is dropped.
    async fn run_in(self, mut room: Room) {
        let cut = room.cut();
        tokio::select! {
            biased;
            () = cut.cancelled() => {}
            () = self.run(&mut room) => {}
        }
    }

    async fn run(self, room: &mut Room) {
        let Self { mut ex, plan, upstream, lease, _place } = self;
        let began = Instant::now();
        let total = began + upstream.total_timeout;
        let taken = match plan {
            Ok(plan) => attempts::once(&mut ex, &upstream, lease, &plan, total).await,
            Err(error) => Err(error),
        };
        room.let_body_go();
        ex.answered(began.elapsed());
        match taken {
            Ok(taken) => {
                if let Answered::Response(_, mut body) = respond(ex, taken, began, None) {
                    while body.next().await.is_some() {}
                }
            }
            Err(error) => {
                let _ = ex.refuse(&error);
            }
        }
    }
}
