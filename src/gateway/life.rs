//! A running gateway, and its end: refuse, wait, cut, flush, close.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use vllm_gateway_directory::Directory;
use vllm_gateway_journal::RecordWriter;
use vllm_gateway_sdk::Ending;
use vllm_gateway_store::{SqliteLock, Store};

use super::{Current, Drain, Membership, Reloader, lights};
use crate::server::Serving;

/// How long records may take to reach the store at the end, and what else the store is to be told.
const FLUSH: Duration = Duration::from_secs(10);
/// How long a store may take to close that did not answer before. The process ends, whatever it is doing.
const CLOSE: Duration = Duration::from_secs(5);

/// How often connections to vLLM are looked at that wait for their next use.
const TIDY: Duration = Duration::from_millis(500);

/// What a gateway consists of.
pub(super) struct Parts {
    pub(super) current: Arc<Current>,
    pub(super) store: Arc<dyn Store>,
    pub(super) directory: Arc<Directory>,
    pub(super) writer: Arc<RecordWriter>,
    pub(super) reloader: Arc<Reloader>,
    pub(super) membership: Arc<Membership>,
    pub(super) drain: Arc<Drain>,
    pub(super) data: Serving,
    pub(super) admin: Serving,
    /// Held until everything is closed.
    pub(super) lock: Option<SqliteLock>,
}

/// A running gateway.
pub struct Gateway {
    parts: Parts,
    data: SocketAddr,
    admin: SocketAddr,
    tasks: JoinSet<()>,
}

impl Gateway {
    pub(super) fn new(parts: Parts, data: SocketAddr, admin: SocketAddr) -> Self {
        let mut tasks = JoinSet::new();
        let (directory, store) = (Arc::clone(&parts.directory), Arc::clone(&parts.store));
        tasks.spawn(async move { directory.sync(&*store).await });
        let reloader = Arc::clone(&parts.reloader);
        tasks.spawn(async move { reloader.watch().await });
        tasks.spawn(tidy(Arc::clone(&parts.current)));
        let membership = Arc::clone(&parts.membership);
        tasks.spawn(async move { membership.follow().await });
        let (current, directory) = (Arc::clone(&parts.current), Arc::clone(&parts.directory));
        tasks.spawn(lights::watch(current, directory, Arc::clone(&parts.writer)));
        tracing::info!(%data, %admin, "serving");
        Self { parts, data, admin, tasks }
    }

    /// Where OpenAI clients are served.
    #[must_use]
    pub fn data_address(&self) -> SocketAddr {
        self.data
    }

    /// Where the admin REST is served.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Exchanges that run now.
    #[must_use]
    pub fn running(&self) -> u64 {
        self.parts.drain.running()
    }

    /// Waits until requests can be served, but not longer than this.
    pub async fn ready(&self, most: Duration) -> bool {
        let ready = async {
            while !self.parts.directory.is_ready() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(most, ready).await.is_ok()
    }

    /// Reads the configuration again; what is wrong with it goes to the log.
    pub async fn reload(&self) -> bool {
        self.parts.reloader.reload().await.is_ok()
    }

    /// Where it is told that nothing is waited for any longer: what runs then is `interrupted`, and not its client's
    /// doing.
    pub(crate) fn ending(&self) -> Arc<Ending> {
        Arc::clone(self.parts.drain.ending())
    }

    /// Ends it: new requests are refused, running ones may end within `shutdown_grace`, records reach the store.
    pub async fn shutdown(mut self) {
        let Parts { current, store, directory, writer, drain, data, admin, lock, .. } = self.parts;
        let copies = Arc::clone(&current.load().copies);
        drain.ending().begin();
        tracing::info!(running = drain.running(), "shutting down");
        if !drain.wait(drain.ending().grace()).await {
            tracing::warn!(running = drain.running(), "cutting off what still runs");
            drain.ending().cut();
            // Who still runs looks twice in this time, and tells its client; whom that does not reach is dropped below.
            drain.wait(Duration::from_secs(1)).await;
            data.stop_forceful();
        }
        // Nobody waits for what runs for mirrors, so the last client's request is the end of it.
        copies.cut();
        copies.ended(Duration::from_secs(1)).await;
        data.stop_graceful(Duration::from_secs(2));
        data.ended().await;
        drain.wait(Duration::from_secs(1)).await;
        admin.stop_graceful(Duration::from_secs(1));
        admin.ended().await;
        self.tasks.shutdown().await;
        let deadline = Instant::now() + FLUSH;
        let flushed = writer.flush(deadline).await;
        if flushed.left > 0 {
            tracing::warn!(records = flushed.left, "records wait in the journal: the next start stores them");
        }
        match timeout_at(deadline, directory.tell_uses(&*store)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = error.full(), "the store was not told when apps were last used");
            }
            Err(_elapsed) => tracing::warn!("the store was not told in time when apps were last used"),
        }
        directory.keep_finally().await;
        if timeout(CLOSE, store.close()).await.is_err() {
            tracing::warn!("the store did not close in time");
        }
        drop(lock);
        tracing::info!("done");
    }
}

/// Closes connections to vLLM that have waited for too long, before vLLM does.
async fn tidy(current: Arc<Current>) {
    loop {
        tokio::time::sleep(TIDY).await;
        current.load().upstreams().values().for_each(|upstream| upstream.tidy());
    }
}
