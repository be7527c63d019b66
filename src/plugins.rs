//! The plugins of this binary, one line each. A crate that nobody mentions is not linked.

use vllm_gateway_access_log as _;
use vllm_gateway_auth as _;
use vllm_gateway_cost_caps as _;
use vllm_gateway_model_route as _;
