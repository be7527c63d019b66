//! vLLM's page of metrics.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| vllm_gateway_fleet::fuzz::report(data));
