//! What the gateway tells its operators: metrics and log lines.

pub(crate) mod logging;
pub(crate) mod metrics;
