//! Servers that sleep: vLLM's sleep mode gives a GPU free, and a request sent there would wait until somebody wakes it.
//!
//! `/is_sleeping` and `/wake_up` are there in vLLM's development mode only; a server without them never sleeps.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::Deserialize;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use vllm_gateway_config::WhenAsleep;
use vllm_gateway_fleet::{Choice, Key, Moment, State, Tried};

use super::{Endpoint, Upstream};

/// How long a server may take to wake: it may have to load its weights anew.
const WAKING: Duration = Duration::from_secs(180);
/// How long one may take before another is woken as well.
const HEDGE: Duration = Duration::from_secs(8);
/// How long to wait after nobody could be woken.
const PAUSE: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes.
const LIMIT: usize = 4096;

/// What vLLM says to `GET /is_sleeping`.
#[derive(Deserialize)]
struct Sleeping {
    is_sleeping: bool,
}

/// That a request needs a server that sleeps.
#[derive(Debug, Default)]
pub(super) struct Needed {
    needed: Notify,
    /// Those that are of no use to it.
    needed_but: Mutex<Option<Tried>>,
}

impl Upstream {
    /// Asks a server that is well whether it sleeps, if that is of interest. Says whether it does.
    pub(super) async fn notices_sleep(&self, endpoint: &Endpoint) -> bool {
        let health = &endpoint.server.health;
        if self.when_asleep == WhenAsleep::Ignore || endpoint.never_sleeps.load(Relaxed) {
            return false;
        }
        // One that does not say is in what it was.
        let Some(asleep) = self.is_asleep(endpoint).await else { return health.is_asleep() };
        if health.set_asleep(asleep) != asleep {
            let does = if asleep { "an endpoint sleeps" } else { "an endpoint is awake" };
            tracing::info!(upstream = &*self.name, endpoint = &*endpoint.url, "{does}");
        }
        asleep
    }

    async fn is_asleep(&self, endpoint: &Endpoint) -> Option<bool> {
        let asked = timeout(self.health.timeout.get(), async {
            let answer = self.get(endpoint, "/is_sleeping").send().await.ok()?;
            if matches!(answer.status().as_u16(), 404 | 405 | 501) {
                endpoint.never_sleeps.store(true, Relaxed);
                endpoint.server.health.set_asleep(false);
                return Some(false);
            }
            let body = super::watch::bounded(answer.error_for_status().ok()?, LIMIT).await?;
            Some(serde_json::from_slice::<Sleeping>(&body).ok()?.is_sleeping)
        });
        asked.await.ok()?
    }

    /// Has a server woken, but none of `unfit`, unless one is being woken already. Requests that need it wait in the line.
    pub(crate) fn wake(&self, unfit: &Tried) {
        *self.sleepers.needed_but.lock().unwrap_or_else(PoisonError::into_inner) = Some(unfit.clone());
        self.sleepers.needed.notify_one();
    }

    /// Wakes the first server that can be woken. Says whether there is one that needs no waking any more.
    async fn wake_one(&self) -> bool {
        let unfit = self.sleepers.needed_but.lock().unwrap_or_else(PoisonError::into_inner).take();
        let unfit = unfit.unwrap_or_default();
        // Another may have been woken since it was asked for.
        if self.fleet.choose(&Key::default(), &unfit, Moment::now()) != Choice::Asleep {
            return true;
        }
        let sleepers: Vec<&Endpoint> = self
            .states()
            .enumerate()
            .filter(|(at, (.., state))| *state == State::Asleep && !unfit.has(*at))
            .map(|(_, (endpoint, ..))| endpoint)
            .collect();
        let (mut others, mut being_woken) = (sleepers.into_iter(), FuturesUnordered::new());
        loop {
            match others.next() {
                Some(endpoint) => being_woken.push(self.wake_endpoint(endpoint)),
                None if being_woken.is_empty() => return false,
                None => {}
            }
            // One that takes its time may be loading its weights, or hang: then another is woken as well.
            if timeout(HEDGE, being_woken.next()).await == Ok(Some(true)) {
                return true;
            }
        }
    }

    async fn wake_endpoint(&self, endpoint: &Endpoint) -> bool {
        let (upstream, url) = (&*self.name, &*endpoint.url);
        tracing::info!(upstream, endpoint = url, "an endpoint is being woken");
        let answer = timeout(WAKING, self.post(endpoint, "/wake_up").send()).await;
        let is_awake = matches!(&answer, Ok(Ok(answer)) if answer.status().is_success())
            && self.is_asleep(endpoint).await == Some(false);
        if is_awake {
            endpoint.server.health.set_asleep(false);
            endpoint.server.health.looked_well(Moment::now());
            tracing::info!(upstream, endpoint = url, "an endpoint was woken");
        } else {
            tracing::warn!(upstream, endpoint = url, "an endpoint sleeps and cannot be woken");
        }
        is_awake
    }
}

/// Wakes a server whenever a request needs one, one at a time.
pub(super) async fn wake_when_needed(upstream: Weak<Upstream>) {
    loop {
        let Some(sleepers) = upstream.upgrade().map(|upstream| Arc::clone(&upstream.sleepers)) else {
            return;
        };
        sleepers.needed.notified().await;
        let Some(now) = upstream.upgrade() else { return };
        let one_is_awake = now.wake_one().await;
        now.call_if_there_is_room();
        drop(now);
        if !one_is_awake {
            sleep(PAUSE).await;
        }
    }
}
