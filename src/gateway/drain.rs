//! Counts what runs, so that a shutdown can wait for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use vllm_gateway_sdk::Ending;

/// What runs, and whether the gateway is waiting for it to end.
pub(crate) struct Drain {
    ending: Arc<Ending>,
    running: AtomicU64,
    ended: Notify,
}

impl Drain {
    pub(crate) fn new(ending: Arc<Ending>) -> Self {
        Self { ending, running: AtomicU64::new(0), ended: Notify::new() }
    }

    /// The end whose requests are counted here.
    pub(crate) fn ending(&self) -> &Arc<Ending> {
        &self.ending
    }

    /// Exchanges that run now.
    pub(crate) fn running(&self) -> u64 {
        self.running.load(Ordering::SeqCst)
    }

    /// One more exchange runs.
    pub(crate) fn enter(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::SeqCst);
        Running(Arc::clone(self))
    }

    /// Waits until nothing runs, but not longer than this. Says whether that was reached.
    pub(crate) async fn wait(&self, most: Duration) -> bool {
        let nothing_runs = async {
            loop {
                let ended = self.ended.notified();
                if self.running() == 0 {
                    return;
                }
                ended.await;
            }
        };
        tokio::time::timeout(most, nothing_runs).await.is_ok()
    }
}

/// An exchange that runs until this is dropped.
pub(crate) struct Running(Arc<Drain>);

impl Drop for Running {
    fn drop(&mut self) {
        let last = self.0.running.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.0.ending.has_begun() {
            self.0.ended.notify_waiters();
        }
    }
}
