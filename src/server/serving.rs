//! A port that is being served, and how that ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A port that is being served, perhaps by several threads.
#[derive(Default)]
pub(crate) struct Serving {
    closings: Vec<Arc<Closing>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Serving {
    /// What this task serves until the closing begins.
    pub(super) fn new(closing: Arc<Closing>, task: JoinHandle<()>) -> Self {
        Self { closings: vec![closing], tasks: vec![task] }
    }

    /// Another server of the same port.
    pub(super) fn join(&mut self, other: Self) {
        self.closings.extend(other.closings);
        self.tasks.extend(other.tasks);
    }

    /// No more connections are taken; those that there are may end what they are at, within this time.
    pub(crate) fn stop_graceful(&self, most: Duration) {
        for closing in &self.closings {
            closing.begin();
            let closing = Arc::clone(closing);
            tokio::spawn(async move {
                tokio::time::sleep(most).await;
                closing.close();
            });
        }
    }

    /// All connections are closed.
    pub(crate) fn stop_forceful(&self) {
        self.closings.iter().for_each(|closing| closing.close());
    }

    /// Waits until nothing is served any more.
    pub(crate) async fn ended(self) {
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// When what serves a port is to end.
#[derive(Default)]
pub(super) struct Closing {
    has_begun: AtomicBool,
    begun: CancellationToken,
    now: CancellationToken,
}

impl Closing {
    /// From now on each connection ends behind what it is at.
    pub(super) fn begin(&self) {
        self.has_begun.store(true, Ordering::Release);
        self.begun.cancel();
    }

    /// Whatever it is at, it ends.
    fn close(&self) {
        self.begin();
        self.now.cancel();
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    /// Waits until it begins.
    pub(super) async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Waits until nothing is waited for any more.
    pub(super) async fn is_now(&self) {
        self.now.cancelled().await;
    }
}
