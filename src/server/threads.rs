//! Threads that serve clients, each with a runtime of its own.

use std::net;

use salvo::Service;
use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
    sync::oneshot,
};

use super::{Serving, listener::Plan};

/// Threads for what blocks, at most: the names of vLLM servers are resolved there, and nothing else is done. Many enough
/// that a name which takes its time does not keep the others waiting.
const BLOCKING: usize = 32;

/// Starts a thread that serves this port. It ends when the port is no longer served.
pub(super) async fn start(
    number: usize,
    socket: net::TcpListener,
    plan: Plan,
    service: Service,
) -> anyhow::Result<Serving> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING)
        .thread_name(format!("serve-{number}-blocking"))
        .build()?;
    let (begun, begins) = oneshot::channel();
    let (ended, ends) = oneshot::channel();
    std::thread::Builder::new().name(format!("serve-{number}")).spawn(move || {
        vllm_gateway_client::use_own_connections();
        run(&runtime, socket, plan, service, begun);
        // What is still to be resolved for nobody is not waited for.
        runtime.shutdown_background();
        let _ = ended.send(());
    })?;
    let handles = begins.await??;
    let task = tokio::spawn(async move {
        // The thread tells of its end, or is gone.
        let _ = ends.await;
    });
    Ok(Serving { handles, tasks: vec![task] })
}

type Begun = oneshot::Sender<anyhow::Result<Vec<salvo::server::ServerHandle>>>;

fn run(runtime: &Runtime, socket: net::TcpListener, plan: Plan, service: Service, begun: Begun) {
    runtime.block_on(async move {
        let serving = match TcpListener::from_std(socket) {
            Ok(socket) => plan.serve(socket, service).await.map_err(Into::into),
            Err(error) => Err(error.into()),
        };
        match serving {
            Ok(Serving { handles, tasks }) => {
                // Who waits for it may have given up; then nobody stops it, and it must not serve.
                if begun.send(Ok(handles)).is_ok() {
                    Serving { handles: Vec::new(), tasks }.ended().await;
                }
            }
            Err(error) => {
                let _ = begun.send(Err(error));
            }
        }
    });
}
