//! The engine's request side: runs the filters of one pipeline in their order.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;

use crate::{Error, Exchange, Filter, Flow, Outcome, Reply};

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
    /// A filter that panics fails closed: the request is answered with 500 and goes no further.
    pub async fn request(&self, ex: &mut Exchange) -> Option<Reply> {
        match AssertUnwindSafe(self.steps(ex)).catch_unwind().await {
            Ok(Ok(None)) => None,
            Ok(Ok(Some(reply))) => Some(ex.reply(reply, Outcome::Replied)),
            Ok(Err(error)) => Some(ex.refuse(&error)),
            Err(_panic) => {
                tracing::error!(
                    request_id = ex.facts().request_id(),
                    pipeline = &*self.name,
                    "a filter panicked"
                );
                Some(ex.refuse(&Error::internal()))
            }
        }
    }

    async fn steps(&self, ex: &mut Exchange) -> Result<Option<Reply>, Error> {
        for step in &self.steps {
            match step.run(ex).await? {
                Flow::Continue => {}
                Flow::Watch(watcher) => ex.watch(watcher),
                Flow::Reply(reply) => return Ok(Some(reply)),
            }
        }
        Ok(None)
    }
}

impl Step {
    async fn run(&self, ex: &mut Exchange) -> Result<Flow, Error> {
        let _timing = self.meter.as_deref().map(|meter| Timing { meter, begun: Instant::now() });
        self.filter.on_request(ex).await
    }
}

/// Measures until it is dropped, so that no end of a filter goes unmeasured: not a panic, nor a client that leaves.
struct Timing<'a> {
    meter: &'a dyn Meter,
    begun: Instant,
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        self.meter.took(self.begun.elapsed());
    }
}
