//! Starts the gateway; a binary with plugins of its own looks the same, see `examples/custom-gateway`.

use std::process::ExitCode;

/// A request is some dozens of small allocations, and this allocator spends the least time on them.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    vllm_gateway::main()
}
