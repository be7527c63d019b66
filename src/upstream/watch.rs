//! Looks at endpoints now and then, apart from requests: whether they are well, and how busy they say they are.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    pin::Pin,
    sync::{
        Arc, PoisonError, Weak,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Method;
use tokio::time::{Instant, sleep, timeout};
use vllm_gateway_config::{HealthOptions, WhenAsleep};
use vllm_gateway_fleet::{Moment, Policy, Reported};

use super::{Endpoint, Upstream, sleep::wake_when_needed};

/// How often an endpoint is looked at that is down.
const DOWN: Duration = Duration::from_secs(1);
/// How soon it is looked at again after a look that failed, until it is down.
const DOUBT: Duration = Duration::from_millis(200);
/// So many looks in a row may be left out, since the endpoint has generated something meanwhile.
const SPARED: u32 = 6;
/// Looks of this process are so far apart on average: where there are thousands of endpoints, each is looked at less often.
/// A look is a connection of its own, since vLLM closes idle ones early, and as dear as ten requests.
const SPACE: Duration = Duration::from_millis(20);
/// How often vLLM is asked how busy it is.
const SCRAPE: Duration = Duration::from_secs(1);
/// How often it is looked whether somebody in the line could go.
const LINE: Duration = Duration::from_millis(100);
/// The largest page of metrics that is read, in bytes.
const PAGE: usize = 4 << 20;

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Upstream {
    /// Begins to look at the endpoints. It ends with the upstream, or when that is retired.
    pub(crate) fn watch(self: &Arc<Self>) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut start = |task: BoxFuture| watchers.push(tokio::spawn(task).abort_handle());
        for endpoint in &self.endpoints {
            if self.health.interval.get().is_some() {
                start(Box::pin(look_on(Arc::downgrade(self), Arc::clone(endpoint))));
            }
            if matches!(self.policy, Policy::VllmLoad) {
                start(Box::pin(ask_for_load(Arc::downgrade(self), Arc::clone(endpoint))));
            }
        }
        start(Box::pin(keep_moving(Arc::downgrade(self))));
        if self.when_asleep == WhenAsleep::Wake {
            start(Box::pin(wake_when_needed(Arc::downgrade(self))));
        }
    }

    /// Ends looking: another upstream is in its place, and looks at the endpoints that it has taken over. Requests that run
    /// here may go on for long.
    pub(crate) fn retire(&self) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.drain(..).for_each(|watcher| watcher.abort());
    }

    async fn is_well(&self, endpoint: &Endpoint) -> bool {
        let HealthOptions { path, timeout: patience, .. } = &self.health;
        let answer = self.get(endpoint, path).send();
        matches!(timeout(patience.get(), answer).await, Ok(Ok(answer)) if answer.status().is_success())
    }

    async fn reported(&self, endpoint: &Endpoint) -> Option<Reported> {
        let answer = timeout(SCRAPE, async {
            let answer = self.get(endpoint, "/metrics").send().await.ok()?.error_for_status().ok()?;
            bounded(answer, PAGE).await
        });
        Reported::read(&answer.await.ok()??)
    }

    pub(super) fn get(&self, endpoint: &Endpoint, path: &str) -> reqwest::RequestBuilder {
        self.ask(Method::GET, endpoint, path)
    }

    pub(super) fn post(&self, endpoint: &Endpoint, path: &str) -> reqwest::RequestBuilder {
        self.ask(Method::POST, endpoint, path)
    }

    fn ask(&self, method: Method, endpoint: &Endpoint, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", endpoint.url.trim_end_matches('/')));
        match &self.authorization {
            Some(authorization) => request.header(http::header::AUTHORIZATION, authorization),
            None => request,
        }
    }
}

/// The whole body, if it is not too long.
pub(super) async fn bounded(mut answer: reqwest::Response, limit: usize) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > limit {
            return None;
        }
    }
    Some(body)
}

/// One who looks at an endpoint, counted as long as it does.
struct Looker;

/// How many there are, in all upstreams.
static LOOKERS: AtomicU32 = AtomicU32::new(0);

impl Looker {
    fn new() -> Self {
        LOOKERS.fetch_add(1, Relaxed);
        Self
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        LOOKERS.fetch_sub(1, Relaxed);
    }
}

/// How long an endpoint that is well is left alone: as long as is wished, or longer where so many are looked at, more or less
/// as `chance` has it (0 to 1). Those that began together are not to look together ever after.
fn pause(wished: Duration, lookers: u32, chance: f32) -> Duration {
    let spaced = SPACE * lookers;
    if spaced <= wished { wished } else { wished.max(spaced.mul_f32(0.5 + chance)) }
}

/// Some number from 0 to 1.
fn chance() -> f32 {
    let random = RandomState::new().build_hasher().finish();
    f32::from(u16::try_from(random >> 48).unwrap_or_default()) / f32::from(u16::MAX)
}

async fn look_on(upstream: Weak<Upstream>, endpoint: Arc<Endpoint>) {
    let _counted = Looker::new();
    let health = &endpoint.server.health;
    loop {
        // Not held while it waits: an upstream that was replaced must be able to go.
        let Some(now) = upstream.upgrade() else { return };
        let is_well = now.is_well(&endpoint).await;
        let is_news = if is_well {
            health.looked_well(Moment::now())
        } else {
            health.looked_unwell(now.fleet.tolerance())
        };
        if is_news {
            tell(&now, &endpoint, is_well);
            endpoint.never_sleeps.store(false, Relaxed);
        }
        let is_asleep = is_well && now.notices_sleep(&endpoint).await;
        let usual = now.health.interval.get().unwrap_or(DOWN);
        drop(now);
        let pause = match is_well {
            true if is_asleep => DOWN.min(usual),
            true => pause(usual, LOOKERS.load(Relaxed), chance()),
            false if health.is_down() => DOWN.min(usual),
            false => DOUBT.min(usual),
        };
        if is_well {
            // What it generates says as much as a look, and costs nothing; for a while, and as long as nothing fails.
            for _ in 0..SPARED {
                let suspected = timeout(pause, endpoint.suspicion.notified()).await.is_ok();
                if suspected || is_asleep || !health.has_proven_itself() || upstream.strong_count() == 0 {
                    break;
                }
            }
        } else if timeout(pause, endpoint.suspicion.notified()).await.is_ok() {
            // A suspicion is no reason to ask one again that was asked just now.
            sleep(DOUBT.min(usual)).await;
        }
    }
}

fn tell(upstream: &Upstream, endpoint: &Endpoint, is_well: bool) {
    let path = &*upstream.health.path;
    let (upstream, endpoint) = (&*upstream.name, &*endpoint.url);
    if is_well {
        tracing::info!(upstream, endpoint, "an endpoint is well again");
    } else {
        tracing::warn!(upstream, endpoint, path, "an endpoint is down: it does not say that it is well");
    }
}

async fn ask_for_load(upstream: Weak<Upstream>, endpoint: Arc<Endpoint>) {
    loop {
        let Some(now) = upstream.upgrade() else { return };
        let (ours, asked, next) = (endpoint.server.in_flight(), Moment::now(), Instant::now() + SCRAPE);
        if let Some(reported) = now.reported(&endpoint).await {
            endpoint.server.report.keep(reported, ours, asked);
        }
        drop(now);
        tokio::time::sleep_until(next).await;
    }
}

/// Calls those who wait for what nobody tells: an endpoint that is well again, or not busy any longer.
async fn keep_moving(upstream: Weak<Upstream>) {
    loop {
        sleep(LINE).await;
        let Some(now) = upstream.upgrade() else { return };
        now.call_if_there_is_room();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifty_looks_in_a_second_are_the_most_however_many_endpoints_there_are() {
        let wished = Duration::from_secs(5);
        assert_eq!([1, 64, 250].map(|lookers| pause(wished, lookers, 0.0)), [wished; 3]);
        assert_eq!(pause(wished, 4_096, 0.5).as_secs(), 81);
        let rarely = Duration::from_mins(5);
        assert_eq!(pause(rarely, 4_096, 1.0), rarely, "no more often than is wished");
        assert!(pause(wished, 4_096, 0.0) < pause(wished, 4_096, 1.0));
        assert!((0..1_000).map(|_| chance()).all(|chance| (0.0..=1.0).contains(&chance)));
    }
}
