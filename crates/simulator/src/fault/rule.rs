//! When a fault strikes: on which path, how often, and after how many requests.

use super::Fault;

/// A fault and when it strikes.
///
/// Without [`on`](Rule::on) it is for every POST (so that a probe of `/health` does not use it up).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What goes wrong.
    pub fault: Fault,
    /// The only path it is for.
    pub path: Option<String>,
    /// How many matching requests pass first.
    pub skip: usize,
    /// How many are struck; `None` is all from then on.
    pub times: Option<usize>,
}

impl Rule {
    /// Strikes every request.
    pub fn always(fault: Fault) -> Self {
        Self { fault, path: None, skip: 0, times: None }
    }

    /// Strikes the next request only.
    pub fn once(fault: Fault) -> Self {
        Self { times: Some(1), ..Self::always(fault) }
    }

    /// Strikes so many requests.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn skip(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// Only for this path, and for every method.
    #[must_use]
    pub fn on(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }
}
