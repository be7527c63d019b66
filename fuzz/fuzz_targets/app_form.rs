//! The body of a change of an app.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| vllm_gateway_admin::fuzz::form(data));
