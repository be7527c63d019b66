//! The model-route plugin.
