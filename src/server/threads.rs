//! Threads that serve clients, each with a runtime of its own.

use std::{net, sync::Arc, time::Duration};

use tokio::{net::TcpListener, runtime, sync::oneshot, time::sleep};

use super::{Destination, Serving, listener::Plan, serving::Closing};

/// Threads for what blocks, at most: the names of vLLM servers are resolved there, and nothing else is done. Many enough
/// that a name which takes its time does not keep the others waiting.
const BLOCKING: usize = 32;

/// How often each of them wakes up for nothing. A timer that is due before all others has tokio wake its driver, which costs
/// a system call and another turn; so of a runtime that has none, each request would wake the driver.
const BEAT: Duration = Duration::from_secs(1);

/// Starts a thread that serves this port. It ends when the port is no longer served.
pub(super) async fn start(
    number: usize,
    socket: net::TcpListener,
    plan: Plan,
    destination: Destination,
) -> anyhow::Result<Serving> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING)
        .thread_name(format!("serve-{number}-blocking"))
        .build()?;
    let (begun, begins) = oneshot::channel();
    let (ended, ends) = oneshot::channel();
    let closing = Arc::<Closing>::default();
    let closes = Arc::clone(&closing);
    std::thread::Builder::new().name(format!("serve-{number}")).spawn(move || {
        vllm_gateway_stripes::claim_number();
        runtime.block_on(run(socket, plan, destination, closes, begun));
        // What is still to be resolved for nobody is not waited for.
        runtime.shutdown_background();
        let _ = ended.send(());
    })?;
    begins.await??;
    let task = tokio::spawn(async move {
        // The thread tells of its end, or is gone.
        let _ = ends.await;
    });
    Ok(Serving::new(closing, task))
}

type Begun = oneshot::Sender<anyhow::Result<()>>;

async fn run(
    socket: net::TcpListener,
    plan: Plan,
    destination: Destination,
    closing: Arc<Closing>,
    begun: Begun,
) {
    let opened = match TcpListener::from_std(socket) {
        Ok(socket) => plan.open(socket, destination, closing).await.map_err(Into::into),
        Err(error) => Err(error.into()),
    };
    match opened {
        Ok(receiving) => {
            // Who waits for it may have given up; then nobody stops it, and it must not serve.
            if begun.send(Ok(())).is_ok() {
                // It ends with the runtime.
                drop(tokio::spawn(beat()));
                receiving.await;
            }
        }
        Err(error) => {
            let _ = begun.send(Err(error));
        }
    }
}

async fn beat() {
    loop {
        sleep(BEAT).await;
    }
}
