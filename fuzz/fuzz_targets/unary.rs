//! The usage of an answer that is no stream.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| vllm_gateway_wire::fuzz::unary(data));
