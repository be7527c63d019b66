//! One attempt after another, until an endpoint has taken the request or nobody is left.

use std::{pin::pin, sync::Arc, time::Instant};

use http::Method;
use vllm_gateway_client::{Request, Response, SendError, send};
use vllm_gateway_config::RetryOn;
use vllm_gateway_fleet::{Key, Tried};
use vllm_gateway_sdk::{Error, Exchange, Fallback, Outcome, RequestBody};

use super::{
    answer::{Taken, usable},
    copy::mirror,
    early::Teller,
    headers::{self, RESPONSE},
    plan::Plan,
    refusal,
    wait::{Patience, beside_the_line, crowded, in_line, until},
};
use crate::{
    descriptors,
    gateway::Runtime,
    telemetry::metrics::{self, metrics},
    upstream::{Endpoint, Lease, NoSlot, Upstream},
};

/// Why an upstream did not take a request, and what the client is told if no other does.
pub(super) struct Failure {
    told: Told,
    /// Whether it may go to another upstream: nothing was generated for it.
    elsewhere: bool,
}

enum Told {
    Ours(Error),
    /// The upstream's own words.
    Theirs(Box<Taken>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { told: Told::Ours(error), elsewhere: false }
    }
}

impl Failure {
    pub(super) fn elsewhere(error: Error) -> Self {
        Self { elsewhere: true, ..error.into() }
    }

    /// Nobody is left to ask; `asked` says that somebody was.
    pub(super) fn nobody(asked: bool) -> Self {
        let outcome = if asked { Outcome::UpstreamError } else { Outcome::Replied };
        let message = "no server for this model can be reached at the moment";
        let error = Error::unavailable("no_healthy_endpoint", message).retry_after(5).outcome(outcome);
        Self::elsewhere(error)
    }

    pub(super) fn no_descriptor() -> Self {
        let message = "the gateway has as many connections as it may: try again in a moment";
        Error::unavailable("overloaded", message).into()
    }

    /// What the client gets.
    pub(super) fn told(self) -> Result<Taken, Error> {
        match self.told {
            Told::Ours(error) => Err(error),
            Told::Theirs(taken) => Ok(*taken),
        }
    }
}

/// Sends the request to the upstream that it is meant for, and if that cannot take it, to those that may answer in its
/// place.
pub(super) async fn take(
    ex: &mut Exchange,
    first: &Arc<Upstream>,
    runtime: &Runtime,
    body: &RequestBody,
    teller: Option<&Teller>,
) -> Result<Taken, Error> {
    ex.before_upstream()?;
    let fallbacks = ex.facts().target().and_then(|target| target.fallbacks.clone());
    let app = ex.facts().consumer().map(Arc::clone);
    let may_use = |fallback: &&Fallback| {
        app.as_ref().is_none_or(|app| app.may_use(&fallback.model))
            && runtime.upstream(&fallback.target.upstream).is_some()
    };
    let rest: Vec<_> = fallbacks.iter().flat_map(|all| all.iter()).filter(may_use).collect();
    // Who has somewhere else to go does not stand in a line.
    let mut failure =
        match at_upstream(ex, runtime, first, body, rest.is_empty().then_some(Wait(teller))).await {
            Ok(taken) => return Ok(taken),
            Err(failure) => failure,
        };
    for (at, fallback) in rest.iter().enumerate() {
        if !failure.elsewhere {
            break;
        }
        let Some(upstream) = runtime.upstream(&fallback.target.upstream) else { continue };
        if !ex.fall_back_to(fallback) {
            continue;
        }
        metrics().fell_back(&first.name);
        failure =
            match at_upstream(ex, runtime, &upstream, body, (at + 1 == rest.len()).then_some(Wait(teller)))
                .await
            {
                Ok(taken) => return Ok(taken),
                Err(failure) => failure,
            };
    }
    failure.told()
}

/// One attempt at the endpoint of this slot and at no other, whatever comes of it.
pub(super) async fn once(
    ex: &mut Exchange,
    upstream: &Upstream,
    lease: Lease,
    plan: &Plan,
    total: Instant,
) -> Result<Taken, Error> {
    match attempt(ex, upstream, lease, plan, total).await {
        Ok(Attempt::Taken(taken)) => Ok(taken),
        Ok(Attempt::NotSent) => Failure::nobody(true).told(),
        Ok(Attempt::Failed(failure, _)) | Err(failure) => failure.told(),
    }
}

/// That a request may wait in the line, and whoever tells its client so.
#[derive(Clone, Copy)]
struct Wait<'t>(Option<&'t Teller>);

/// What came of an attempt.
pub(super) enum Attempt {
    Taken(Taken),
    /// Nothing was sent: the next endpoint may have it.
    NotSent,
    /// It failed; another endpoint may have it for this reason, if there is leave.
    Failed(Failure, Option<RetryOn>),
}

async fn at_upstream(
    ex: &mut Exchange,
    runtime: &Runtime,
    upstream: &Arc<Upstream>,
    body: &RequestBody,
    wait: Option<Wait<'_>>,
) -> Result<Taken, Failure> {
    let plan = Plan::new(ex, body, upstream)?;
    let begun = Instant::now();
    let total = begun + upstream.total_timeout;
    let key = upstream.key(ex, body);
    let mut tried = unfit(ex, upstream);
    // Of all that it waits, however often.
    let patience =
        wait.map(|Wait(teller)| Patience { until: total.min(begun + upstream.queue.timeout.get()), teller });
    // Another one may take its place while this request waits.
    let mut upstream = Arc::clone(upstream);
    // What the client is told if nobody is left, and the leave under which it is tried again.
    let (mut last, mut leave) = (None, None);
    // A place in the line is leave enough.
    let mut waits = false;
    loop {
        let lease = match slot(ex, runtime, &upstream, &key, &mut tried, patience, waits).await? {
            Slot::Taken(lease) => lease,
            Slot::Nobody => return Err(last.unwrap_or_else(|| Failure::nobody(false))),
            Slot::Busy => return Err(last.unwrap_or_else(crowded)),
        };
        if !Arc::ptr_eq(&upstream, lease.upstream()) {
            upstream = Arc::clone(lease.upstream());
        }
        let at = lease.index();
        mirror(ex, runtime, body);
        match attempt(ex, &upstream, lease, &plan, total).await? {
            Attempt::Taken(taken) => return Ok(taken),
            Attempt::NotSent => {
                tried.add(at);
                last.get_or_insert_with(|| Failure::nobody(true));
            }
            Attempt::Failed(failure, reason) => {
                let Some(reason) = reason.filter(|reason| may_retry(ex, &upstream, *reason)) else {
                    return Err(failure);
                };
                drop(leave.take());
                leave = upstream.retry();
                waits = leave.is_none();
                if waits && reason != RetryOn::Busy {
                    metrics().retried(&upstream.name, "refused");
                    return Err(failure);
                }
                metrics().retried(&upstream.name, word(reason));
                if reason != RetryOn::Busy {
                    // One that is busy is left alone by its own word, and may be asked again after that.
                    tried.add(at);
                }
                last = Some(failure);
            }
        }
    }
}

/// Only what leaves no trace at the server may be tried again, and only for the reasons that the operator named.
fn may_retry(ex: &Exchange, upstream: &Upstream, reason: RetryOn) -> bool {
    ex.route().stateless && upstream.retry_on.contains(&reason)
}

/// What came of looking for a slot.
enum Slot {
    Taken(Lease),
    /// Nobody is left to ask.
    Nobody,
    /// All are busy, and it may not wait.
    Busy,
}

/// The endpoints that cannot serve it, as far as it is known: those without its LoRA adapter.
pub(super) fn unfit(ex: &Exchange, upstream: &Upstream) -> Tried {
    match (ex.facts().target(), ex.facts().model()) {
        (Some(target), Some(model)) if target.is_adapter => upstream.without(model),
        _ => Tried::default(),
    }
}

/// A slot at an endpoint; where all are busy, others wait already, or it must, by way of the line: until `patience` ends, if
/// it has any.
async fn slot(
    ex: &mut Exchange,
    runtime: &Runtime,
    upstream: &Arc<Upstream>,
    key: &Key,
    tried: &mut Tried,
    patience: Option<Patience<'_>>,
    must_wait: bool,
) -> Result<Slot, Failure> {
    if upstream.line.is_empty() && !must_wait {
        match upstream.slot(key, tried) {
            Ok(lease) => return Ok(Slot::Taken(lease)),
            Err(NoSlot::Full) => {}
            // Also for one that does not wait itself: the next will find it awake.
            Err(NoSlot::Asleep) => upstream.wake(tried),
            Err(NoSlot::Nobody) => return Ok(Slot::Nobody),
            Err(NoSlot::NoDescriptor) => return Err(Failure::no_descriptor()),
        }
    }
    let Some(patience) = patience else { return Ok(Slot::Busy) };
    // By the time that it is called, those that failed may be well again.
    *tried = unfit(ex, upstream);
    if !tried.is_empty() {
        let lease = beside_the_line(ex, runtime, upstream, key, patience.until).await?;
        return Ok(lease.map_or(Slot::Nobody, Slot::Taken));
    }
    let lease = in_line(ex, runtime, upstream, key, patience).await?;
    Ok(lease.map_or(Slot::Nobody, Slot::Taken))
}

pub(super) async fn attempt(
    ex: &mut Exchange,
    upstream: &Upstream,
    lease: Lease,
    plan: &Plan,
    total: Instant,
) -> Result<Attempt, Failure> {
    let endpoint = &*upstream.endpoints[lease.index()];
    ex.attempt(&endpoint.url);
    let whole = Instant::now() + upstream.first_byte_timeout;
    let deadline = whole.min(total);
    let request = request(ex, upstream, endpoint, plan);
    let call = pin!(send(&upstream.connector, &endpoint.origin, request, &RESPONSE));
    match until(deadline, ex, call).await? {
        Some(Ok(response)) => {
            metrics::attempt(upstream, endpoint, response.status.as_u16());
            usable(&response).inspect_err(|_| upstream.failed_there(endpoint))?;
            if response.status.is_server_error() {
                return refused(ex, upstream, lease, plan, response, deadline).await;
            }
            Ok(Attempt::Taken(Taken::coming(response, lease, plan)))
        }
        // Nothing is known of the endpoint: it is this process that has no descriptor for the connection.
        Some(Err(error)) if lacks_descriptors(&error) => Err(Failure::no_descriptor()),
        Some(Err(error)) => {
            let message =
                if error.is_connect() { "an endpoint is passed over" } else { "the upstream failed" };
            tracing::warn!(upstream = &*upstream.name, endpoint = &*endpoint.url, %error, "{message}");
            metrics::attempt(upstream, endpoint, 0);
            upstream.not_reached(endpoint);
            if error.is_connect() {
                return Ok(Attempt::NotSent);
            }
            let error = Error::upstream("the upstream closed the connection before it answered");
            Ok(Attempt::Failed(error.into(), Some(RetryOn::Broken)))
        }
        None => {
            metrics::attempt(upstream, endpoint, 0);
            // Whoever had less than the whole time has not failed.
            if deadline == whole {
                upstream.failed_there(endpoint);
            }
            Err(Error::upstream_timeout("the upstream did not begin its answer in time").into())
        }
    }
}

/// Looks into an error of the endpoint: it may refuse what another one would take.
async fn refused(
    ex: &mut Exchange,
    upstream: &Upstream,
    lease: Lease,
    plan: &Plan,
    response: Response,
    deadline: Instant,
) -> Result<Attempt, Failure> {
    let endpoint = &*upstream.endpoints[lease.index()];
    if !refusal::may_be(&response) {
        upstream.failed_there(endpoint);
        return Ok(Attempt::Taken(Taken::coming(response, lease, plan)));
    }
    let retry_after = refusal::retry_after(&response);
    let Response { status, headers, body } = response;
    // Short as it is, it may hang in the middle.
    let deadline = deadline.min(Instant::now() + upstream.gap_timeout);
    let Some(bytes) = refusal::read(ex, body, deadline).await? else {
        upstream.not_reached(endpoint);
        return Err(Error::upstream("the upstream broke off its answer").into());
    };
    let reason = refusal::of(status, &bytes);
    match reason {
        Some(RetryOn::Busy) => endpoint.is_busy(retry_after),
        Some(RetryOn::Draining) => endpoint.is_ending(),
        _ => upstream.failed_there(endpoint),
    }
    let taken = Taken::read(status, headers, bytes, plan);
    Ok(match reason {
        None => Attempt::Taken(taken),
        Some(_) => Attempt::Failed(Failure { told: Told::Theirs(Box::new(taken)), elsewhere: true }, reason),
    })
}

fn request(ex: &Exchange, upstream: &Upstream, endpoint: &Endpoint, plan: &Plan) -> Request {
    let path = plan.path.as_deref().unwrap_or(ex.route().path);
    let gets = ex.request().method == Method::GET;
    let mut request =
        if gets { Request::get(&endpoint.origin, path) } else { Request::post(&endpoint.origin, path) };
    let id = ex.facts().request_id();
    headers::to_upstream(&mut request, &ex.request().headers, id, upstream.authorization.as_ref());
    if gets { request.without_body() } else { request.body(&plan.segments) }
}

fn word(reason: RetryOn) -> &'static str {
    match reason {
        RetryOn::Busy => "busy",
        RetryOn::Draining => "draining",
        RetryOn::Broken => "broken",
    }
}

fn lacks_descriptors(error: &SendError) -> bool {
    error.io().is_some_and(descriptors::are_used_up)
}
