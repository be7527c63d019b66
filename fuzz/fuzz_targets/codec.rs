//! A record in the journal.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| vllm_gateway_journal::fuzz::codec(data));
