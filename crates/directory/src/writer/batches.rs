//! Takes records off the queue in batches: large ones when there is much, soon when there is little.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;
use vllm_gateway_sdk::Record;

pub(super) const MOST: usize = 500;
const WAIT: Duration = Duration::from_millis(200);

/// The next batch, complete after 500 records or 200 ms; empty when the queue has ended. May be dropped at any
/// point: what it has taken so far is in `batch`.
pub(super) async fn fill(queue: &mut UnboundedReceiver<Record>, batch: &mut Vec<Record>) {
    if batch.is_empty() && queue.recv_many(batch, MOST).await == 0 {
        return;
    }
    let deadline = sleep(WAIT);
    tokio::pin!(deadline);
    while batch.len() < MOST {
        let room = MOST - batch.len();
        tokio::select! {
            got = queue.recv_many(batch, room) => if got == 0 { return },
            () = &mut deadline => return,
        }
    }
}

/// What is in the queue now, at most one batch of it.
pub(super) fn fill_at_once(queue: &mut UnboundedReceiver<Record>, batch: &mut Vec<Record>) {
    while batch.len() < MOST
        && let Ok(record) = queue.try_recv()
    {
        batch.push(record);
    }
}
