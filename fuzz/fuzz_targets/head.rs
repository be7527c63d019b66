//! A request's head.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| vllm_gateway::fuzz::head(data));
