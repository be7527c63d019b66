//! The head of vLLM's answer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| vllm_gateway_client::fuzz::answer_head(data));
