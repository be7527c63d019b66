//! The handle: start a simulated server, change it, watch it, stop it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::door::{BACKLOG, open};
use crate::engine::Control;
use crate::fault::{Fault, Rule};
use crate::ledger::Generation;
use crate::options::{Options, Speed};
use crate::recording::Recording;
use crate::replay::Replay;
use crate::seen::Seen;
use crate::shared::Shared;

/// How new connections are met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// They are accepted and served.
    Open,
    /// Nobody listens: they are refused. The port stays ours, for [`Door::Open`] to come back to.
    Refuse,
    /// They are accepted and never answered.
    Stall,
    /// They are accepted and reset.
    Reset,
}

/// How many connections there are and were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Open now.
    pub open: usize,
    /// Accepted since the start.
    pub accepted: u64,
}

/// A running simulated server. Clones are handles to the same one; it runs until [`shutdown`](Self::shutdown)
/// or until the runtime ends.
#[derive(Clone)]
pub struct Simulator {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    /// Closed once the accepting task has ended.
    ended: watch::Receiver<()>,
}

impl Simulator {
    /// Starts a server on the current tokio runtime.
    #[allow(clippy::unused_async)] // It needs a runtime to run on; being async makes that plain.
    pub async fn start(options: Options) -> io::Result<Self> {
        if options.models.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a simulated server needs a model name"));
        }
        let socket = if options.listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(options.listen)?;
        let listener = socket.listen(BACKLOG)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::new(options));
        shared.addr.get_or_init(|| addr);
        let (ends, ended) = watch::channel(());
        tokio::spawn(open(shared.clone(), listener, addr, ends));
        Ok(Self { addr, shared, ended })
    }

    /// `http://ADDR`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What it was started with.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Stops listening, ends everything that runs at once, and waits until all connections are closed.
    pub async fn shutdown(&self) {
        self.shared.stop();
        let mut ended = self.ended.clone();
        // An error is the sign: the accepting task has dropped its end.
        while ended.changed().await.is_ok() {}
        self.wait_for(Duration::from_secs(60), |simulator| simulator.connections().open == 0).await;
    }

    /// What SIGTERM does by default (s01): what runs ends with `finish_reason: "abort"`, then the server is gone.
    pub async fn terminate(&self) {
        self.shared.door.send_replace(Door::Refuse);
        self.abort_all();
        self.wait_for(Duration::from_secs(10), |simulator| simulator.active() == 0).await;
        self.shutdown().await;
    }

    // ---- what happens -------------------------------------------------------------------------------------

    /// Changes how fast tokens come, for what runs as well.
    pub fn set_speed(&self, speed: Speed) {
        self.control(|control| control.speed = speed);
    }

    /// Lets everything take so many times as long as it was started with, prompts and tokens, for what runs as well; 1 is
    /// as it was started.
    pub fn slow_down(&self, times: f64) {
        let Options { speed, prefill, .. } = self.shared.options;
        self.control(|control| {
            control.prefill = prefill.mul_f64(times);
            control.speed = Speed { ttft: speed.ttft.mul_f64(times), itl: speed.itl.mul_f64(times), ..speed };
        });
    }

    /// Empties the prefix cache, as a start would.
    pub fn forget_prefixes(&self) {
        self.shared.forget_prefixes();
    }

    /// Changes how many sequences run at once. What runs goes on.
    pub fn set_max_num_seqs(&self, sequences: usize) {
        self.shared.seats.resize(sequences);
    }

    /// Puts the engine to sleep: no token comes and `/health` still says 200. `false` wakes it.
    pub fn set_asleep(&self, asleep: bool) {
        self.control(|control| control.asleep = asleep);
    }

    /// Ends all that runs or waits with `finish_reason: "abort"` (s01).
    pub fn abort_all(&self) {
        self.control(|control| control.aborts += 1);
    }

    /// Lets running requests finish and refuses new ones with 500, as between SIGTERM and the end (s02).
    pub fn set_draining(&self, draining: bool) {
        self.control(|control| control.draining = draining);
    }

    /// Kills the engine process under the server (s03): streams get an error event, the others and new requests 500,
    /// `/health` says 503. `false` brings it back.
    pub fn set_engine_dead(&self, dead: bool) {
        self.control(|control| control.dead = dead);
    }

    fn control(&self, change: impl FnOnce(&mut Control)) {
        self.shared.control.send_modify(change);
    }

    /// Changes how new connections are met. Open ones stay; see [`hang_up`](Self::hang_up).
    ///
    /// With [`Door::Refuse`] it returns once nobody listens any more, with the others once somebody does.
    pub async fn set_door(&self, door: Door) {
        // The accepting task says so once it has done it.
        let mut met = self.ended.clone();
        met.mark_unchanged();
        self.shared.door.send_replace(door);
        let _ = timeout(Duration::from_secs(5), met.changed()).await;
    }

    /// Closes every open connection now, whatever it is doing.
    pub fn hang_up(&self) {
        self.shared.hang_ups.send_modify(|count| *count += 1);
    }

    /// Adds a fault.
    pub fn inject(&self, rule: Rule) {
        self.shared.faults.add(rule);
    }

    /// The next POST meets this fault.
    pub fn inject_once(&self, fault: Fault) {
        self.inject(Rule::once(fault));
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// From now on answers as recorded, byte for byte; what matches no recording gets a 501 that says so.
    pub fn replay(&self, recordings: Vec<Recording>) {
        let replay = Arc::new(Replay::new(recordings));
        *self.shared.replay.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(replay);
    }

    /// Simulates again.
    pub fn stop_replay(&self) {
        *self.shared.replay.write().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }

    // ---- what happened ------------------------------------------------------------------------------------

    /// The last requests, oldest first.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.seen.all()
    }

    /// The last generations, oldest first: what each cost and how it ended.
    pub fn ledger(&self) -> Vec<Generation> {
        self.shared.ledger.snapshot()
    }

    /// Forgets requests and ledger.
    pub fn forget(&self) {
        self.shared.seen.clear();
        self.shared.ledger.clear();
    }

    /// How many requests run or wait in the engine.
    pub fn active(&self) -> usize {
        self.shared.metrics.active.load(Ordering::Relaxed)
    }

    /// How many of them run.
    pub fn running(&self) -> usize {
        self.shared.metrics.running.load(Ordering::Relaxed)
    }

    /// How many of them wait for a seat.
    pub fn waiting(&self) -> usize {
        self.shared.metrics.waiting.load(Ordering::Relaxed)
    }

    /// Tokens generated since the start, over all requests.
    pub fn generated_tokens(&self) -> usize {
        self.shared.metrics.generation_tokens.load(Ordering::Relaxed)
    }

    /// Tokens of prompts since the start: those that were looked up in the prefix cache, and those that were found.
    pub fn prefix_cache_tokens(&self) -> (usize, usize) {
        let metrics = &self.shared.metrics;
        (metrics.prompt_tokens.load(Ordering::Relaxed), metrics.prefix_hits.load(Ordering::Relaxed))
    }

    /// How many connections there are and were.
    pub fn connections(&self) -> Connections {
        Connections {
            open: self.shared.open_connections.load(Ordering::Relaxed),
            accepted: self.shared.accepted_connections.load(Ordering::Relaxed),
        }
    }

    /// Waits until something is so; says whether it came to be in time.
    pub async fn wait_for(&self, limit: Duration, mut holds: impl FnMut(&Self) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            if holds(self) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            // Single tokens are not announced (that would cost every stream), so look again soon anyway.
            let _ = timeout(Duration::from_millis(5), self.shared.changed.notified()).await;
        }
    }
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulator").field("addr", &self.addr).finish_non_exhaustive()
    }
}
