//! A slot at an endpoint: taken before a request goes there, given back when it is over, however that comes about.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use vllm_gateway_fleet::{Choice, Key, Moment, Policy, Start, Tried};

use super::{Endpoint, Upstream};
use crate::descriptors::Descriptor;

/// Why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSlot {
    /// All that can be asked are busy.
    Full,
    /// Those that could be asked sleep.
    Asleep,
    /// There is nobody left to ask.
    Nobody,
    /// The process has no descriptor to spare for a connection.
    NoDescriptor,
}

/// What runs at an upstream, over all its endpoints, and outlives reloads.
#[derive(Debug, Default)]
pub(crate) struct Running {
    requests: AtomicU32,
    /// How many of them are second tries that have no answer yet.
    retries: AtomicU32,
    /// How many are copies, for which this is the mirror.
    copies: AtomicU32,
    /// How many wait for one endpoint, beside the line.
    waiting: AtomicU32,
}

impl Upstream {
    /// Takes a slot at the endpoint that balancing picks, of those that this request has not been at.
    pub(crate) fn slot(self: &Arc<Self>, key: &Key, tried: &Tried) -> Result<Lease, NoSlot> {
        let counted = self.max_concurrent.is_some();
        if let Some(most) = self.max_concurrent
            && self.running.requests.fetch_add(1, Relaxed) >= most.get()
        {
            self.running.requests.fetch_sub(1, Relaxed);
            return Err(NoSlot::Full);
        }
        let slot = self.slot_at_endpoint(key, tried);
        slot.inspect_err(|_| {
            if counted {
                self.running.requests.fetch_sub(1, Relaxed);
            }
        })
    }

    fn slot_at_endpoint(self: &Arc<Self>, key: &Key, tried: &Tried) -> Result<Lease, NoSlot> {
        /// Others may be quicker to take the last slot of an endpoint, but not for ever.
        const TRIES: usize = 4;
        let now = Moment::now();
        for _ in 0..TRIES {
            let at = match self.fleet.choose(key, tried, now) {
                Choice::Server(at) => at,
                Choice::Full => return Err(NoSlot::Full),
                Choice::Asleep => return Err(NoSlot::Asleep),
                Choice::Nobody => return Err(NoSlot::Nobody),
            };
            let Some(member) = self.fleet.members().get(at) else { return Err(NoSlot::Nobody) };
            if member.server.take(member.most) {
                let Some(descriptor) = Descriptor::for_upstream() else {
                    member.server.give();
                    return Err(NoSlot::NoDescriptor);
                };
                let learns = matches!(self.policy, Policy::VllmLoad);
                let start = learns.then(|| member.server.pace.start(key.bytes()));
                return Ok(Lease {
                    upstream: Arc::clone(self),
                    at,
                    start,
                    counts: true,
                    _descriptor: descriptor,
                });
            }
        }
        Err(NoSlot::Full)
    }

    /// A way to this endpoint, however busy it is and also if it is drained: nothing is generated, so it counts for nothing.
    pub(crate) fn slot_at(self: &Arc<Self>, at: usize) -> Result<Lease, NoSlot> {
        self.endpoints.get(at).ok_or(NoSlot::Nobody)?;
        let descriptor = Descriptor::for_upstream().ok_or(NoSlot::NoDescriptor)?;
        Ok(Lease { upstream: Arc::clone(self), at, start: None, counts: false, _descriptor: descriptor })
    }

    /// Calls who waits, if there is room for one more.
    pub(crate) fn call_if_there_is_room(&self) {
        if self.line.is_empty() {
            return;
        }
        let may_run = self.max_concurrent.is_none_or(|most| self.running.requests.load(Relaxed) < most.get());
        let choice = self.fleet.choose(&Key::default(), &Tried::default(), Moment::now());
        match choice {
            Choice::Server(_) if may_run => self.line.call_next(),
            Choice::Asleep => self.wake(&Tried::default()),
            Choice::Server(_) | Choice::Full | Choice::Nobody => {}
        }
    }

    /// Leave to wait beside the line, unless as many do as may stand in it.
    pub(crate) fn beside_the_line(&self) -> Option<Beside> {
        let beside = Beside { running: Arc::clone(&self.running) };
        let waiting = self.running.waiting.fetch_add(1, Relaxed);
        usize::try_from(waiting).is_ok_and(|waiting| waiting < self.queue.size).then_some(beside)
    }

    /// Leave to try a request a second time, unless too many are being tried again already.
    pub(crate) fn retry(&self) -> Option<Retry> {
        /// So many may always be.
        const LEAST: u32 = 3;
        let most = (u64::from(self.fleet.in_flight()) * u64::from(self.retry_budget) / 100).max(LEAST.into());
        let retry = Retry { running: Arc::clone(&self.running) };
        (u64::from(self.running.retries.fetch_add(1, Relaxed)) < most).then_some(retry)
    }
}

impl Upstream {
    /// A place for one more copy, if there is one: each endpoint gets so many at most, lest a mirror that hangs gathers
    /// them.
    pub(crate) fn place_for_a_copy(&self) -> Option<CopyPlace> {
        const MOST_PER_ENDPOINT: usize = 64;
        let most = self.endpoints.len().saturating_mul(MOST_PER_ENDPOINT);
        let place = CopyPlace { running: Arc::clone(&self.running) };
        let before = usize::try_from(self.running.copies.fetch_add(1, Relaxed)).unwrap_or(usize::MAX);
        (before < most).then_some(place)
    }
}

/// A place beside the line, for a request that only one endpoint can serve.
pub(crate) struct Beside {
    running: Arc<Running>,
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.running.waiting.fetch_sub(1, Relaxed);
    }
}

/// A slot at an endpoint.
pub(crate) struct Lease {
    upstream: Arc<Upstream>,
    at: usize,
    /// Where the policy learns how soon answers begin: this one has not.
    start: Option<Start>,
    /// It takes the room of something that is generated.
    counts: bool,
    _descriptor: Descriptor,
}

impl Lease {
    /// The upstream.
    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Which of its endpoints it is.
    pub(crate) fn index(&self) -> usize {
        self.at
    }

    /// The endpoint.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        // Members and endpoints are made together, one for one, and neither ever changes.
        &self.upstream.endpoints[self.at]
    }
}

impl Lease {
    /// The first byte of its answer has come; `streams` says that it is the first of a stream.
    pub(crate) fn began(&mut self, streams: bool) {
        if let Some(start) = self.start.take() {
            self.endpoint().server.pace.began(&start, streams);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.began(false);
        if !self.counts {
            return;
        }
        self.endpoint().server.give();
        if self.upstream.max_concurrent.is_some() {
            self.upstream.running.requests.fetch_sub(1, Relaxed);
        }
        self.upstream.line.call_next();
    }
}

/// Leave to try a request a second time, until its answer has begun.
pub(crate) struct Retry {
    running: Arc<Running>,
}

impl Drop for Retry {
    fn drop(&mut self) {
        self.running.retries.fetch_sub(1, Relaxed);
    }
}

/// The place of a copy at the mirror.
pub(crate) struct CopyPlace {
    running: Arc<Running>,
}

impl Drop for CopyPlace {
    fn drop(&mut self) {
        self.running.copies.fetch_sub(1, Relaxed);
    }
}
