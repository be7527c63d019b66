//! The configuration in force: swapped whole, while each request keeps the one it began with.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Runtime;

/// What is in force now.
pub(crate) struct Current(ArcSwap<Runtime>);

impl Current {
    pub(crate) fn new(runtime: Runtime) -> Self {
        Self(ArcSwap::from_pointee(runtime))
    }

    /// The configuration for a request that begins now. It keeps it to its end.
    pub(crate) fn load(&self) -> Arc<Runtime> {
        self.0.load_full()
    }

    /// Puts another one in force.
    pub(crate) fn swap(&self, runtime: Runtime) {
        self.0.store(Arc::new(runtime));
    }
}
