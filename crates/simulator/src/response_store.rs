//! The responses that a server keeps, with `VLLM_ENABLE_RESPONSES_API_STORE`: in memory, until it ends.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// A response that was kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    /// The response object.
    pub(crate) whole: String,
    /// Its events, if it was streamed.
    pub(crate) events: Vec<Vec<u8>>,
    /// What was said until its end, for those that go on from it.
    pub(crate) messages: Vec<Value>,
    /// Whether it waits in the background, so that it can be cancelled.
    pub(crate) waits: bool,
}

/// All that were kept. Nobody asks whose they are.
#[derive(Debug, Default)]
pub(crate) struct ResponseStore(Mutex<HashMap<String, Kept>>);

impl ResponseStore {
    pub(crate) fn keep(&self, id: &str, kept: Kept) {
        self.all().insert(id.to_owned(), kept);
    }

    pub(crate) fn get(&self, id: &str) -> Option<Kept> {
        self.all().get(id).cloned()
    }

    /// Cancels a response that waits and gives it as it is then; what does not wait is given as it is, with false.
    pub(crate) fn cancel(&self, id: &str) -> Option<(Kept, bool)> {
        let mut all = self.all();
        let kept = all.get_mut(id)?;
        let waited = std::mem::take(&mut kept.waits);
        if waited {
            kept.whole = kept.whole.replacen(r#""status":"queued""#, r#""status":"cancelled""#, 1);
        }
        Some((kept.clone(), waited))
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
