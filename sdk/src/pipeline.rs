//! The engine's request side: runs the filters of one pipeline in their order.

use std::{panic::AssertUnwindSafe, sync::Arc};

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
            match step.filter.on_request(ex).await? {
                Flow::Continue => {}
                Flow::Watch(watcher) => ex.watch(watcher),
                Flow::Reply(reply) => return Ok(Some(reply)),
            }
        }
        Ok(None)
    }
}
