//! What all connections of one simulator share. There is no state outside of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};

use crate::engine::{Control, Prefill, PrefixCache, Seats};
use crate::fault::Faults;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::replay::Replay;
use crate::response_store::ResponseStore;
use crate::seen::SeenRequests;
use crate::simulator::Door;
use crate::text::{Random, hash};

/// The insides of a simulator.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) addr: OnceLock<SocketAddr>,
    pub(crate) control: watch::Sender<Control>,
    pub(crate) seats: Arc<Seats>,
    pub(crate) faults: Faults,
    pub(crate) ledger: Ledger,
    pub(crate) seen: SeenRequests,
    pub(crate) responses: ResponseStore,
    pub(crate) metrics: Metrics,
    /// Where anybody can tell that there is one: by usage, time or room.
    pub(crate) prefix_cache: Option<Arc<PrefixCache>>,
    pub(crate) prefill: Prefill,
    pub(crate) replay: RwLock<Option<Arc<Replay>>>,
    /// Told of everything that a test may wait for.
    pub(crate) changed: Notify,
    pub(crate) door: watch::Sender<Door>,
    /// Connections close when this counts up.
    pub(crate) hang_ups: watch::Sender<u64>,
    pub(crate) open_connections: AtomicUsize,
    pub(crate) accepted_connections: AtomicU64,
    stopping: AtomicBool,
    random: AtomicU64,
    pub(crate) fingerprint: String,
    pub(crate) started: SystemTime,
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        let control = Control { speed: options.speed, prefill: options.prefill, ..Control::default() };
        let has_cache =
            options.prompt_tokens_details || !options.prefill.is_zero() || options.num_gpu_blocks.is_some();
        let now = SystemTime::now();
        let born = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        let model = hash(options.models.join(",").as_bytes());
        Self {
            addr: OnceLock::new(),
            control: watch::Sender::new(control),
            seats: Arc::new(Seats::new(options.max_num_seqs)),
            faults: Faults::new(&options.faults),
            ledger: Ledger::new(options.keep_generations),
            seen: SeenRequests::new(options.keep_requests),
            responses: ResponseStore::default(),
            metrics: Metrics::default(),
            prefix_cache: has_cache
                .then(|| Arc::new(PrefixCache::new(options.block_size, options.num_gpu_blocks))),
            prefill: Prefill::new(),
            replay: RwLock::default(),
            changed: Notify::new(),
            door: watch::Sender::new(Door::Open),
            hang_ups: watch::Sender::new(0),
            open_connections: AtomicUsize::new(0),
            accepted_connections: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            random: AtomicU64::new(hash(&born.to_le_bytes()) ^ u64::from(std::process::id())),
            fingerprint: format!("vllm-{}-{:08x}", options.version, model >> 32),
            started: now,
            options,
        }
    }

    /// A number for what has to differ each time, as ids do.
    pub(crate) fn next_random(&self) -> u64 {
        self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }

    /// Sixteen hexadecimal digits, as in vLLM's ids.
    pub(crate) fn new_id(&self) -> String {
        Random::new(self.next_random()).hex16()
    }

    pub(crate) fn forget_prefixes(&self) {
        if let Some(cache) = &self.prefix_cache {
            cache.clear();
        }
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.door.send_replace(Door::Refuse);
        self.hang_ups.send_modify(|count| *count += 1);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn current_replay(&self) -> Option<Arc<Replay>> {
        self.replay.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Seconds since 1970, for `created`.
    pub(crate) fn now() -> usize {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        usize::try_from(seconds).unwrap_or(usize::MAX)
    }
}

/// Counts a connection while it is open.
pub(crate) struct OpenConnection {
    shared: Arc<Shared>,
    pub(crate) number: u64,
}

impl OpenConnection {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        shared.open_connections.fetch_add(1, Ordering::Relaxed);
        let number = shared.accepted_connections.fetch_add(1, Ordering::Relaxed) + 1;
        shared.changed.notify_waiters();
        Self { shared: shared.clone(), number }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.shared.open_connections.fetch_sub(1, Ordering::Relaxed);
        self.shared.changed.notify_waiters();
    }
}

/// Counts an HTTP request in `/load` while it is being answered.
pub(crate) struct Load<'s>(&'s Metrics);

impl<'s> Load<'s> {
    pub(crate) fn new(metrics: &'s Metrics) -> Self {
        metrics.load.fetch_add(1, Ordering::Relaxed);
        Self(metrics)
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
    }
}
