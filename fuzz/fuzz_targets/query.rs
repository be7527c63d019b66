//! A question to /api/logs or /api/usage.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| vllm_gateway_admin::fuzz::query(data));
