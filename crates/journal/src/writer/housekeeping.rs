//! What nobody waits for: hourly roll-ups, and the end of records that have been kept long enough.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use vllm_gateway_store::{LogStore, StoreError};

const EVERY: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(600);
const SLICE: u64 = 1_000;
/// Between two slices, so that writers and readers get their turn.
const BREATH: Duration = Duration::from_millis(20);

/// Keeps house for as long as it is polled.
pub(super) async fn keep_house(store: Arc<dyn LogStore>, retention: Arc<Mutex<Option<Duration>>>) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let keep = *retention.lock().unwrap_or_else(PoisonError::into_inner);
        match timeout(DEADLINE, once(&*store, keep, Timestamp::now())).await {
            Ok(Ok(0)) => {}
            Ok(Ok(purged)) => {
                tracing::debug!(purged, "removed access-log records at the end of their retention");
            }
            Ok(Err(error)) => tracing::warn!(
                error = error.full(),
                "housekeeping of the access log failed, the next minute tries again"
            ),
            Err(_elapsed) => {
                tracing::warn!("housekeeping of the access log took too long, the next minute goes on");
            }
        }
    }
}

/// Rolls up, then removes what is older than `keep`; how many records that were.
pub(super) async fn once(
    store: &dyn LogStore,
    keep: Option<Duration>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    store.roll_up().await?;
    let Some(before) = keep.and_then(|keep| oldest(now, keep)) else { return Ok(0) };
    let mut purged = 0;
    loop {
        let slice = store.purge(before, SLICE).await?;
        purged += slice;
        if slice < SLICE {
            return Ok(purged);
        }
        sleep(BREATH).await;
    }
}

/// The oldest time that is kept; none if it lies before all times.
fn oldest(now: Timestamp, keep: Duration) -> Option<Timestamp> {
    now.checked_sub(SignedDuration::try_from(keep).ok()?).ok()
}
