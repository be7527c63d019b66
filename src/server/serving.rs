//! A port that is being served, and how that ends.

use std::time::Duration;

use salvo::server::ServerHandle;
use tokio::task::JoinHandle;

/// A port that is being served, perhaps by several servers.
#[derive(Default)]
pub(crate) struct Serving {
    pub(super) handles: Vec<ServerHandle>,
    pub(super) tasks: Vec<JoinHandle<()>>,
}

impl Serving {
    /// Another server of the same port.
    pub(super) fn join(&mut self, other: Self) {
        self.handles.extend(other.handles);
        self.tasks.extend(other.tasks);
    }

    /// No more connections are taken; those that there are may end what they are at, within this time.
    pub(crate) fn stop_graceful(&self, most: Duration) {
        self.handles.iter().for_each(|handle| handle.stop_graceful(most));
    }

    /// All connections are closed.
    pub(crate) fn stop_forceful(&self) {
        self.handles.iter().for_each(ServerHandle::stop_forceful);
    }

    /// Waits until nothing is served any more.
    pub(crate) async fn ended(self) {
        for task in self.tasks {
            let _ = task.await;
        }
    }
}
