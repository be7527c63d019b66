//! gateway.toml.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vllm_gateway_access_log as _;
use vllm_gateway_auth as _;
use vllm_gateway_cost_caps as _;
use vllm_gateway_model_route as _;

fuzz_target!(|data: &[u8]| vllm_gateway_config::fuzz::config(data));
