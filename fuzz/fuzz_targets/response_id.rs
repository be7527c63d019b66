//! The id of a response, as its answer begins.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| vllm_gateway_wire::fuzz::response_id(data));
