//! The ways to spread requests. Each picks one server, so that "refused, try the next" is the same loop for all.

mod least_requests;
mod prefix;
mod round_robin;
mod session;
#[cfg(test)]
pub(crate) mod testing;
mod two_choices;
mod vllm_load;

use std::{fmt::Debug, sync::Arc};

use crate::{Key, fleet::Among};

pub use prefix::PrefixTable;

/// A way to spread requests.
#[derive(Clone, Debug)]
pub enum Policy {
    /// One after the other, as often as their weights say.
    RoundRobin,
    /// To the one with the fewest requests.
    LeastRequests,
    /// To the one with fewer requests of two that chance names.
    TwoChoices,
    /// To the one that is least busy, as vLLM itself says.
    VllmLoad,
    /// To where the prompt's beginning is cached, unless that one is too busy. The table is what is known of that.
    Prefix(Arc<PrefixTable>),
    /// All of a session to the same.
    Session,
}

/// A way to spread requests over the members of a fleet.
pub(crate) trait Balance: Send + Sync + Debug {
    /// One of those that may be asked; none if there is none.
    fn pick(&self, among: &Among<'_>, key: &Key) -> Option<usize>;
}

pub(crate) fn of(policy: Policy) -> Box<dyn Balance> {
    match policy {
        Policy::RoundRobin => Box::new(round_robin::RoundRobin),
        Policy::LeastRequests => Box::new(least_requests::LeastRequests),
        Policy::TwoChoices => Box::new(two_choices::TwoChoices),
        Policy::VllmLoad => Box::new(vllm_load::VllmLoad),
        Policy::Prefix(table) => Box::new(prefix::Prefix::new(table)),
        Policy::Session => Box::new(session::Session),
    }
}
