//! The engine: who may run, how fast tokens come, and what stops everything at once.

mod blocks;
mod control;
mod prefill;
mod prefix_cache;
mod run;
mod seats;

pub(crate) use control::Control;
pub(crate) use prefill::Prefill;
pub(crate) use prefix_cache::{CacheUse, PrefixCache};
pub(crate) use run::{Pulse, Run, with_comments};
pub(crate) use seats::Seats;
