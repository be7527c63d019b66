//! The configuration in force: swapped whole, while each request keeps the one it began with.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;

use super::Runtime;

/// What is in force now.
pub(crate) struct Current {
    runtime: ArcSwap<Runtime>,
    ready: AtomicBool,
}

impl Current {
    pub(crate) fn new(runtime: Runtime) -> Self {
        Self { runtime: ArcSwap::from_pointee(runtime), ready: AtomicBool::new(false) }
    }

    /// The configuration for a request that begins now. It keeps it to its end.
    pub(crate) fn load(&self) -> Arc<Runtime> {
        self.runtime.load_full()
    }

    /// Puts another one in force.
    pub(crate) fn swap(&self, runtime: Runtime) {
        self.runtime.store(Arc::new(runtime));
    }

    /// Whether requests can be served: apps have been read.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }
}
