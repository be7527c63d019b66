//! A local change of one app: in force as soon as the store has acknowledged it, and in the local copy before the
//! one who asked for it hears so.

use std::future::Future;

use tokio::sync::MutexGuard;
use vllm_gateway_store::StoredApp;

use crate::Directory;

/// A local change of one app, from before the store is asked until its answer is in force here.
///
/// Dropped without an answer (the store failed, the client left) it changes nothing: the next poll says what is.
#[must_use = "a change is in force here once its answer is handed over"]
pub struct Change<'a> {
    directory: &'a Directory,
    id: String,
    answered: bool,
    _turn: MutexGuard<'a, ()>,
}

impl<'a> Change<'a> {
    pub(crate) fn new(directory: &'a Directory, id: String, turn: MutexGuard<'a, ()>) -> Self {
        Self { directory, id, answered: false, _turn: turn }
    }

    /// The store has acknowledged the change: this is the app now, unless a later change is known already.
    ///
    /// It is in force when this returns. What is returned ends when a restart cannot undo it, be the store away
    /// then or not: when the local copy has it, or there is no copy any more. An error says that neither could be
    /// done.
    #[must_use = "only when the local copy has the change, a restart cannot undo it"]
    pub fn apply(mut self, stored: StoredApp) -> impl Future<Output = std::io::Result<()>> + Send + 'a {
        self.answered = self.directory.put_answer(stored);
        self.kept()
    }

    /// The store has deleted the app, or has none of that id. As for [`apply`](Self::apply).
    #[must_use = "only when the local copy has the change, a restart cannot undo it"]
    pub fn forget(mut self) -> impl Future<Output = std::io::Result<()>> + Send + 'a {
        self.directory.remove_answer(&self.id);
        self.answered = true;
        self.kept()
    }

    fn kept(self) -> impl Future<Output = std::io::Result<()>> + Send + 'a {
        let directory = self.directory;
        // Here, not in the future: the next change of the app need not wait for the disk.
        drop(self);
        directory.news.notify_one();
        directory.keep()
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.directory.close(std::mem::take(&mut self.id));
        if !self.answered {
            // What came of it, only the store knows.
            self.directory.wake.notify_one();
        }
    }
}
