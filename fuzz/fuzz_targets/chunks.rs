//! The body of vLLM's answer, in chunks.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| vllm_gateway_client::fuzz::chunks(data));
