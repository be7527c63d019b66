//! Keeps the directory in step with the store: polls what has changed, tells when apps were used.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use vllm_gateway_store::{AppStore, StoreError};

use crate::Directory;

/// A change made elsewhere is in force here after this and the time of one poll; the promise is 5 s.
const POLL: Duration = Duration::from_secs(1);
/// The stores have deadlines of their own; this one is for a store that hangs without keeping them.
const POLL_DEADLINE: Duration = Duration::from_secs(30);
const TELL: Duration = Duration::from_secs(10);
const TELL_AT_ONCE: usize = 500;

impl Directory {
    /// Loads the directory, then keeps it in step with the store for as long as it is polled. One at a time.
    pub async fn sync(&self, store: &dyn AppStore) {
        tokio::join!(self.keep_polling(store), self.keep_telling(store));
    }

    /// Asks the store once for what has changed, or for everything the first time.
    pub async fn poll(&self, store: &dyn AppStore) -> Result<(), StoreError> {
        let mut mark = self.mark.lock().await;
        let begun = self.poll_begins();
        let changes = store.changes(&mark).await?;
        let next = changes.mark.clone();
        if self.poll_ends(begun, changes) {
            *mark = next;
        }
        Ok(())
    }

    /// Tells the store when apps were last used, as far as it does not know. Also the last thing before the end.
    pub async fn tell_uses(&self, store: &dyn AppStore) -> Result<(), StoreError> {
        let untold = self.untold_uses();
        for batch in untold.chunks(TELL_AT_ONCE) {
            let uses: Vec<_> = batch
                .iter()
                .filter_map(|(app, last)| Some((app.id.clone(), Timestamp::from_millisecond(*last).ok()?)))
                .collect();
            store.touch(&uses).await?;
            batch.iter().for_each(|(app, last)| app.uses.tell(*last));
        }
        Ok(())
    }

    async fn keep_polling(&self, store: &dyn AppStore) {
        let mut away = false;
        loop {
            let failure = match timeout(POLL_DEADLINE, self.poll(store)).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.full()),
                Err(_elapsed) => Some(format!("no answer within {} s", POLL_DEADLINE.as_secs())),
            };
            let failed = failure.is_some();
            match failure {
                None if away => {
                    tracing::info!(apps = self.len(), "the apps are in step with the store again");
                }
                Some(error) if !away => {
                    tracing::warn!(
                        error,
                        apps = self.len(),
                        "cannot read the apps from the store, trying on"
                    );
                }
                _ => {}
            }
            away = failed;
            sleep(POLL).await;
        }
    }

    async fn keep_telling(&self, store: &dyn AppStore) {
        let mut tick = interval(TELL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match timeout(POLL_DEADLINE, self.tell_uses(store)).await {
                Ok(Ok(())) => {}
                // Nothing is lost: they are told with the next batch. That the store is away, the poll has said.
                Ok(Err(error)) => {
                    tracing::debug!(error = error.full(), "cannot tell the store when apps were used");
                }
                Err(_elapsed) => tracing::debug!("the store did not take the times of use in time"),
            }
        }
    }
}
