//! The local copy of the apps.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| vllm_gateway_directory::fuzz::apps_copy(data));
