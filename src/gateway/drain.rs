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
use vllm_gateway_stripes::Stripes;

/// What runs, and whether the gateway is waiting for it to end.
pub(crate) struct Drain {
    ending: Arc<Ending>,
    /// By the thread that serves: an exchange holds what counts it there, and nothing that other threads write to.
    running: Stripes<Arc<Count>>,
    ended: Arc<Ended>,
}

/// What runs on one thread, in a line of memory of its own.
#[repr(align(64))]
struct Count {
    running: AtomicU64,
    ended: Arc<Ended>,
}

/// Told when an exchange has ended, once the gateway ends, too.
struct Ended {
    ending: Arc<Ending>,
    notify: Notify,
}

impl Drain {
    pub(crate) fn new(ending: Arc<Ending>) -> Self {
        let ended = Arc::new(Ended { ending: Arc::clone(&ending), notify: Notify::new() });
        let count = || Arc::new(Count { running: AtomicU64::new(0), ended: Arc::clone(&ended) });
        Self { ending, running: Stripes::new(count), ended }
    }

    /// The end whose requests are counted here.
    pub(crate) fn ending(&self) -> &Arc<Ending> {
        &self.ending
    }

    /// Exchanges that run now.
    pub(crate) fn running(&self) -> u64 {
        self.running.iter().map(|count| count.running.load(Ordering::SeqCst)).sum()
    }

    /// One more exchange runs.
    pub(crate) fn enter(&self) -> Running {
        let count = self.running.own();
        count.running.fetch_add(1, Ordering::SeqCst);
        Running(Arc::clone(count))
    }

    /// Waits until nothing runs, but not longer than this. Says whether that was reached.
    pub(crate) async fn wait(&self, most: Duration) -> bool {
        let nothing_runs = async {
            loop {
                let ended = self.ended.notify.notified();
                if self.running() == 0 {
                    // One may have begun on a thread that was counted, while the last of another ended.
                    tokio::task::yield_now().await;
                    if self.running() == 0 {
                        return;
                    }
                }
                ended.await;
            }
        };
        tokio::time::timeout(most, nothing_runs).await.is_ok()
    }
}

/// An exchange that runs until this is dropped, on whatever thread.
pub(crate) struct Running(Arc<Count>);

impl Drop for Running {
    fn drop(&mut self) {
        let Count { running, ended } = &*self.0;
        running.fetch_sub(1, Ordering::SeqCst);
        if ended.ending.has_begun() {
            ended.notify.notify_waiters();
        }
    }
}
