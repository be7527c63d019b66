//! Requests that only one endpoint can serve: it keeps the response that they are about.

use std::{pin::pin, sync::Arc, time::Instant};

use vllm_gateway_fleet::Tried;
use vllm_gateway_sdk::{Error, Exchange, RequestBody, Route};

use super::{
    answer::Taken,
    asked::Asked,
    attempts::{Failure, once},
    plan::Plan,
    wait::{LOOK, crowded, until},
};
use crate::{
    gateway::Runtime,
    responses::{Home, Responses},
    upstream::{Lease, NoSlot, Upstream},
};

/// Asks for a response that was made before, or for its end.
pub(super) async fn ask(ex: &mut Exchange, runtime: &Runtime, responses: &Responses) -> Result<Taken, Error> {
    let uri = ex.request().uri.clone();
    let id = Route::response_id(uri.path()).ok_or_else(Error::response_not_found)?;
    let asked = Asked::read(uri.query().unwrap_or_default())?;
    let home = responses.home(id, ex.facts()).ok_or_else(Error::response_not_found)?;
    ex.set_model(&home.model);
    ex.route_to(home.target())?;
    if asked.stream {
        ex.asks_for_stream();
    }
    let (upstream, at) = place(&home, runtime)?;
    ex.before_upstream()?;
    let total = Instant::now() + upstream.total_timeout;
    let plan = Plan::of_response(ex.route().path.replace("{id}", id) + &asked.query, &upstream);
    match upstream.slot_at(at) {
        Ok(lease) => once(ex, &upstream, lease, &plan, total).await,
        Err(no) => refusal(no).told(),
    }
}

/// Sends a request that goes on from this response to where that is kept.
pub(super) async fn go_on(
    ex: &mut Exchange,
    runtime: &Runtime,
    home: &Home,
    body: &RequestBody,
) -> Result<Taken, Error> {
    aim(ex, home)?;
    let (upstream, _) = place(home, runtime)?;
    ex.before_upstream()?;
    let begun = Instant::now();
    let total = begun + upstream.total_timeout;
    let plan = Plan::new(ex, body, &upstream)?;
    let patience = total.min(begun + upstream.queue.timeout.get());
    match slot(ex, runtime, home, body, patience).await? {
        Ok(lease) => {
            let upstream = Arc::clone(lease.upstream());
            once(ex, &upstream, lease, &plan, total).await
        }
        Err(no) => refusal(no).told(),
    }
}

/// Sets the target to where the response is kept, if a request for this model may go there.
fn aim(ex: &mut Exchange, home: &Home) -> Result<(), Error> {
    let target = ex.facts().target();
    if ex.facts().model() != Some(&*home.model) {
        // Where no server of this model has it, vLLM's own words would be these.
        let is_there = target.is_some_and(|target| target.upstream == home.upstream);
        return if is_there { Ok(()) } else { Err(Error::response_not_found()) };
    }
    if !home.fell_back {
        // Of several upstreams that serve this model, the one that has served it before.
        return ex.route_to(home.target());
    }
    let fallbacks = target.and_then(|target| target.fallbacks.clone());
    let mut fallbacks = fallbacks.iter().flat_map(|all| all.iter());
    let fallback = fallbacks.find(|fallback| fallback.target.upstream == home.upstream);
    // It must be one still, and one that the app may use.
    if fallback.is_some_and(|fallback| ex.fall_back_to(fallback)) {
        Ok(())
    } else {
        Err(Error::response_not_found())
    }
}

/// The upstream as it stands now, and the endpoint's place in it. Where either is gone, so is the response.
fn place(home: &Home, runtime: &Runtime) -> Result<(Arc<Upstream>, usize), Error> {
    let upstream = runtime.upstream(&home.upstream).ok_or_else(Error::response_not_found)?;
    let at = upstream.endpoints.iter().position(|endpoint| *endpoint.url == *home.endpoint);
    Ok((upstream, at.ok_or_else(Error::response_not_found)?))
}

/// A slot at this endpoint, once it has room.
async fn slot(
    ex: &mut Exchange,
    runtime: &Runtime,
    home: &Home,
    body: &RequestBody,
    patience: Instant,
) -> Result<Result<Lease, NoSlot>, Error> {
    let key = place(home, runtime)?.0.key(ex, body);
    let mut waits = None;
    loop {
        let (upstream, at) = place(home, runtime)?;
        let mut others = Tried::default();
        (0..upstream.endpoints.len()).filter(|other| *other != at).for_each(|other| others.add(other));
        let slot = upstream.slot(&key, &others);
        match &slot {
            Err(NoSlot::Full) => {}
            Err(NoSlot::Asleep) => upstream.wake(&others),
            _ => return Ok(slot),
        }
        waits = waits.or_else(|| upstream.beside_the_line());
        if waits.is_none() || Instant::now() >= patience {
            return Ok(slot);
        }
        let pause = pin!(tokio::time::sleep(LOOK));
        let _ = until(patience, ex, pause).await?;
    }
}

fn refusal(no: NoSlot) -> Failure {
    match no {
        NoSlot::Full => crowded(),
        NoSlot::Nobody | NoSlot::Asleep => Failure::nobody(false),
        NoSlot::NoDescriptor => Failure::no_descriptor(),
    }
}
