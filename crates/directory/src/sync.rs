//! Keeps the directory in step with the store: asks what has changed, and hears of it where the store tells.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use vllm_gateway_store::{AppStore, ChangeMark, Changes, StoreError};

use crate::Directory;
use crate::copy::LocalCopy;

/// The stores have deadlines of their own; this one is for a store that hangs without keeping them.
const POLL_DEADLINE: Duration = Duration::from_secs(30);
/// Changes that come this close together are asked for at once.
const BURST: Duration = Duration::from_millis(20);
/// How long a store may take at the start before the log says what is done meanwhile.
const SOON: Duration = Duration::from_secs(1);
const TELL: Duration = Duration::from_secs(10);
const TELL_AT_ONCE: usize = 500;
/// The pauses before listening again, after it failed.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A store that cannot tell of changes may learn it: a standalone MongoDB becomes a replica set.
const CANNOT_TELL_PAUSE: Duration = Duration::from_mins(1);

/// What the log was told last of the store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// That it answers, or nothing yet.
    InStep,
    /// That it has not answered at the start.
    Slow,
    /// That it cannot be asked.
    Away,
    /// That its answer is not taken.
    Refused,
}

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
        let changes = self.ask(store, &mark).await.inspect_err(|_| self.freshness.failed())?;
        let next = changes.mark.clone();
        if self.poll_ends(begun, changes) {
            *mark = next;
        } else {
            self.wake.notify_one();
        }
        self.news.notify_one();
        Ok(())
    }

    /// Asks the store which one it is: [`StoreError::Invalid`] says that it is another one than the known apps are of.
    pub async fn recognise(&self, store: &dyn AppStore) -> Result<(), StoreError> {
        let identity = store.identity().await?;
        self.home.recognise(&identity, self.len(), self.copy.as_ref().map(LocalCopy::path))
    }

    /// Leaves the local copy for the next start, as far as this one has moved it: the store was not recognised.
    pub async fn put_back(&self) -> std::io::Result<()> {
        match &self.copy {
            Some(copy) => copy.put_back().await,
            None => Ok(()),
        }
    }

    async fn ask(&self, store: &dyn AppStore, mark: &ChangeMark) -> Result<Changes, StoreError> {
        let changes = store.changes(mark).await?;
        // Only what stands for itself can come from another store, and take everything away. Asked behind it, so that
        // what was read before the store was replaced is not believed either.
        if changes.complete {
            self.recognise(store).await?;
        }
        Ok(changes)
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
        let mut told = self.poll_first(store).await;
        loop {
            let woken = timeout(self.poll_every, self.wake.notified()).await.is_ok();
            if woken {
                sleep(BURST).await;
            }
            told = self.tell(self.poll_in_time(store).await, told);
        }
    }

    /// At most starts the store answers at once, which is not worth a line.
    async fn poll_first(&self, store: &dyn AppStore) -> Told {
        let mut poll = Box::pin(self.poll_in_time(store));
        if let Ok(answer) = timeout(SOON, &mut poll).await {
            return self.tell(answer, Told::InStep);
        }
        let told = if self.is_ready() {
            tracing::info!(
                apps = self.len(),
                for_seconds = self.serves_for().as_secs(),
                "known keys are served from the local copy until the store answers, for so long"
            );
            Told::Slow
        } else {
            Told::InStep
        };
        self.tell(poll.await, told)
    }

    async fn poll_in_time(&self, store: &dyn AppStore) -> Result<(), StoreError> {
        timeout(POLL_DEADLINE, self.poll(store)).await.unwrap_or_else(|_elapsed| {
            self.freshness.failed();
            let message = format!("no answer within {} s", POLL_DEADLINE.as_secs());
            Err(StoreError::Unavailable { message, source: None })
        })
    }

    /// Says in the log what is news.
    fn tell(&self, answer: Result<(), StoreError>, told: Told) -> Told {
        let (apps, for_seconds) = (self.len(), self.serves_for().as_secs());
        match answer {
            Ok(()) => {
                if told != Told::InStep {
                    tracing::info!(apps, "the apps are in step with the store again");
                }
                Told::InStep
            }
            Err(error @ StoreError::Invalid { .. }) => {
                if told != Told::Refused {
                    tracing::error!(
                        error = error.full(),
                        apps,
                        for_seconds,
                        "the apps of this store are not taken, it is asked on; known keys work meanwhile, for so long"
                    );
                }
                Told::Refused
            }
            Err(error) => {
                if told != Told::Away {
                    tracing::warn!(
                        error = error.full(),
                        apps,
                        for_seconds,
                        "cannot read the apps from the store, trying on; known keys work meanwhile, for so long"
                    );
                }
                Told::Away
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
