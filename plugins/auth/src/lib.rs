//! The auth plugin.
