//! Keeps the directory in step with the store: asks what has changed, and hears of it where the store tells.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use vllm_gateway_store::{AppStore, StoreError};

use crate::Directory;

/// The stores have deadlines of their own; this one is for a store that hangs without keeping them.
const POLL_DEADLINE: Duration = Duration::from_secs(30);
/// Changes that come this close together are asked for at once.
const BURST: Duration = Duration::from_millis(20);
const TELL: Duration = Duration::from_secs(10);
const TELL_AT_ONCE: usize = 500;
/// The pauses before listening again, after it failed.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A store that cannot tell of changes may learn it: a standalone MongoDB becomes a replica set.
const CANNOT_TELL_PAUSE: Duration = Duration::from_mins(1);

impl Directory {
    /// Loads the directory, then keeps it in step with the store for as long as it is polled. One at a time.
    pub async fn sync(&self, store: &dyn AppStore) {
        tokio::join!(
            self.keep_polling(store),
            self.keep_listening(store),
            self.keep_telling(store),
            self.keep_copying()
        );
    }

    /// Asks the store once for what has changed, or for everything the first time.
    pub async fn poll(&self, store: &dyn AppStore) -> Result<(), StoreError> {
        let mut mark = self.mark.lock().await;
        let begun = self.poll_begins();
        let changes = store.changes(&mark).await.inspect_err(|_| self.freshness.failed())?;
        let next = changes.mark.clone();
        if self.poll_ends(begun, changes) {
            *mark = next;
        } else {
            self.wake.notify_one();
        }
        self.news.notify_one();
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
                Err(_elapsed) => {
                    self.freshness.failed();
                    Some(format!("no answer within {} s", POLL_DEADLINE.as_secs()))
                }
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
                        for_seconds = self.serves_for().as_secs(),
                        "cannot read the apps from the store, trying on; known keys work meanwhile, for so long"
                    );
                }
                _ => {}
            }
            away = failed;
            let woken = timeout(self.poll_every, self.wake.notified()).await.is_ok();
            if woken {
                sleep(BURST).await;
            }
        }
    }

    /// How long known keys work yet, if the store stays away.
    fn serves_for(&self) -> Duration {
        self.age().map_or(Duration::ZERO, |age| self.freshness.max_staleness().saturating_sub(age))
    }

    /// Wakes the polling when the store says that something has changed. Without it, and when it breaks, polling
    /// goes on as ever.
    async fn keep_listening(&self, store: &dyn AppStore) {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            match store.watch(&|| self.wake.notify_one()).await {
                Ok(()) => {
                    tracing::debug!(
                        "this store does not tell of changes by itself, so it is asked every second"
                    );
                    sleep(CANNOT_TELL_PAUSE).await;
                }
                // That the store is away, the poll has said.
                Err(error) => {
                    tracing::debug!(
                        error = error.full(),
                        "the store has stopped to tell of changes, listening again"
                    );
                    pause = if begun.elapsed() > LONGEST_PAUSE {
                        FIRST_PAUSE
                    } else {
                        (pause * 2).min(LONGEST_PAUSE)
                    };
                    sleep(pause).await;
                }
            }
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
