//! The engine's request side: runs the filters of one pipeline in their order.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;

use crate::{Error, Exchange, Filter, Flow, Outcome, Reply};

/// How long the filters of one request may take together, apart from the body for which they may wait.
const BUDGET: Duration = Duration::from_secs(30);

/// The ordered filters that some routes go through.
pub struct Pipeline {
    /// Its name in `gateway.toml`.
    pub name: Arc<str>,
    /// Its filters, the first first.
    pub steps: Vec<Step>,
}

/// A filter under the name that it has in `gateway.toml`.
#[derive(Clone)]
pub struct Step {
    /// Name of the instance.
    pub name: Arc<str>,
    /// The filter.
    pub filter: Arc<dyn Filter>,
    /// Who is told how long it takes.
    pub meter: Option<Arc<dyn Meter>>,
}

/// Is told how long a filter took over a request, what it waited for included.
pub trait Meter: Send + Sync {
    /// It took this long, and if the client left meanwhile, until then.
    fn took(&self, time: Duration);
}

impl Pipeline {
    /// Runs the request side. An answer means that no upstream is to be called.
    ///
    /// A filter that panics, or does not come to an end, fails closed: the request is answered with 500 and goes no
    /// further.
    pub async fn request(&self, ex: &mut Exchange) -> Option<Reply> {
        let budget = ex.body_deadline() + BUDGET;
        self.request_within(budget, ex).await
    }

    async fn request_within(&self, budget: Duration, ex: &mut Exchange) -> Option<Reply> {
        let mut at = None;
        let ended = {
            let steps = pin!(self.steps(ex, &mut at));
            tokio::time::timeout(budget, AssertUnwindSafe(steps).catch_unwind()).await
        };
        let fault = match ended {
            Ok(Ok(Ok(None))) => return None,
            Ok(Ok(Ok(Some(reply)))) => return Some(ex.reply(reply, Outcome::Replied)),
            Ok(Ok(Err(error))) => return Some(ex.refuse(&error)),
            Ok(Err(_panic)) => "a filter panicked",
            Err(_elapsed) => "a filter did not come to an end",
        };
        tracing::error!(request_id = ex.facts().request_id(), pipeline = &*self.name, filter = at, "{fault}");
        Some(ex.refuse(&Error::internal()))
    }

    /// Runs the filters; `at` names the one that runs.
    async fn steps<'a>(
        &'a self,
        ex: &mut Exchange,
        at: &mut Option<&'a str>,
    ) -> Result<Option<Reply>, Error> {
        // One filter begins where the one before it has ended: the clock is read once for both.
        let mut begun = Instant::now();
        for step in &self.steps {
            *at = Some(&step.name);
            match step.run(ex, &mut begun).await? {
                Flow::Continue => {}
                Flow::Watch(watcher) => ex.watch(watcher),
                Flow::Reply(reply) => return Ok(Some(reply)),
            }
        }
        Ok(None)
    }
}

impl Step {
    async fn run(&self, ex: &mut Exchange, begun: &mut Instant) -> Result<Flow, Error> {
        let _timing = self.meter.as_deref().map(|meter| Timing { meter, begun });
        self.filter.on_request(ex).await
    }
}

/// Measures until it is dropped, so that no end of a filter goes unmeasured: not a panic, nor a client that leaves.
struct Timing<'a> {
    meter: &'a dyn Meter,
    begun: &'a mut Instant,
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        self.meter.took(now.saturating_duration_since(*self.begun));
        *self.begun = now;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::{IpAddr, Ipv4Addr};

    use async_trait::async_trait;
    use http_body_util::{BodyExt, Empty};

    use super::*;
    use crate::{BodyLimits, Ending, Incoming, RequestId, Route};

    /// Waits for what never comes.
    struct Stuck;

    #[async_trait]
    impl Filter for Stuck {
        async fn on_request(&self, _: &mut Exchange) -> Result<Flow, Error> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_filter_that_does_not_come_to_an_end_fails_closed() {
        let head = http::Request::post("/v1/chat/completions").body(()).unwrap().into_parts().0;
        let mut ex = Exchange::new(Incoming {
            head,
            body: Empty::new().map_err(|never| match never {}).boxed_unsync(),
            limits: Arc::new(BodyLimits::new(
                1,
                Duration::from_secs(1),
                1,
                Arc::new(Ending::new(Duration::ZERO)),
            )),
            route: Route::of_path("/v1/chat/completions").unwrap(),
            pipeline: None,
            client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            request_id: RequestId::given("stuck"),
        });
        let step = Step { name: "stuck".into(), filter: Arc::new(Stuck), meter: None };
        let pipeline = Pipeline { name: "default".into(), steps: vec![step] };
        let reply = pipeline.request_within(Duration::from_millis(10), &mut ex).await;
        assert_eq!(reply.unwrap().head.status, 500);
    }
}
