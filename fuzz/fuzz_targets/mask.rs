//! Text in a record.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| vllm_gateway_sdk::fuzz::mask(data));
