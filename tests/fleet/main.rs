//! Several vLLM servers behind one name, through real sockets: who gets a request, and what becomes of it when one of them
//! is slow, busy, ending or gone.
#![allow(clippy::unwrap_used, missing_docs)]

mod adapters;
mod asleep;
mod crowd;
mod fallbacks;
mod health;
mod life;
mod line;
mod mirror;
mod mirror_at_the_end;
mod policies;
mod reload;
mod responses;
mod retries;
mod stale;
mod told;
mod yard;

/// The stage of `tests/gateway`, of which not everything is used here.
#[allow(dead_code, clippy::needless_pass_by_value, clippy::assigning_clones)]
#[path = "../gateway/support.rs"]
mod support;
