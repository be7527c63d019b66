//! What turns `/ready` red, and with it refuses every request: told in the log when it begins and when it is over.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use vllm_gateway_directory::Directory;
use vllm_gateway_journal::RecordWriter;
use vllm_gateway_sdk::RecordSink;

use super::Current;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How many looks in a row it takes to believe it: nobody wants to read of what was over before he looked.
const TO_RED: u32 = 2;
/// The same for the end, so that what comes and goes is one outage, not many.
const TO_GREEN: u32 = 6;

/// Looks for as long as it is polled.
pub(super) async fn watch(current: Arc<Current>, directory: Arc<Directory>, writer: Arc<RecordWriter>) {
    let records = Arc::clone(&writer) as Arc<dyn RecordSink>;
    let (mut keys, mut journal) = (Light::default(), Light::default());
    loop {
        sleep(LOOK).await;
        match keys.seen(!directory.is_ready()) {
            Some(true) => tracing::error!(
                apps = directory.len(),
                age_seconds = directory.age().map(|age| age.as_secs()),
                "not ready: the apps were never read from the store, or too long ago ([store] max_staleness), so every \
                 key is refused with 503 `store_unavailable` until the store answers"
            ),
            Some(false) => tracing::info!(apps = directory.len(), "ready: keys are known again"),
            None => {}
        }
        // As `/ready` asks: where room is being made, this waits for it. The ticket gives its room back at once.
        let full = current.load().keeps_records && records.ticket().await.is_err();
        let counts = writer.counts();
        let (bytes, max_bytes) = writer.journal_size();
        match journal.seen(full) {
            Some(true) => tracing::error!(
                pending = counts.pending,
                bytes,
                max_bytes,
                "not ready: the journal of records takes no more ([journal] max_size, or the disk), so requests are \
                 refused with 503 `log_unavailable` until the store takes records from it"
            ),
            Some(false) => {
                tracing::info!(pending = counts.pending, bytes, "ready: the journal takes records again");
            }
            None => {}
        }
    }
}

/// Whether something is red, as far as it was told.
#[derive(Default)]
struct Light {
    red: bool,
    /// Looks in a row that said otherwise.
    otherwise: u32,
}

impl Light {
    /// What was seen now; the new state, where it is to be told.
    fn seen(&mut self, red: bool) -> Option<bool> {
        if red == self.red {
            self.otherwise = 0;
            return None;
        }
        self.otherwise += 1;
        if self.otherwise < if red { TO_RED } else { TO_GREEN } {
            return None;
        }
        *self = Self { red, otherwise: 0 };
        Some(red)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [bool; 0] = [];

    #[test]
    fn an_outage_is_told_once_at_its_beginning_and_once_at_its_end() {
        let mut light = Light::default();
        let mut told = |looks: &[bool]| looks.iter().filter_map(|red| light.seen(*red)).collect::<Vec<_>>();
        assert_eq!(told(&[false, true, false, true, false]), NOTHING, "over before anybody looked");
        assert_eq!(told(&[true; 9]), [true]);
        assert_eq!(told(&[false, false, true, false, false, false, true]), NOTHING, "it comes and goes");
        assert_eq!(told(&[false; 9]), [false]);
        assert_eq!(told(&[true; 2]), [true]);
    }
}
