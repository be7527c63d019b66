//! What a plugin of vllm-gateway is written against: the filter trait, the exchange, the engine.

pub use vllm_gateway_record::{Outcome, Record, TokenSource};
