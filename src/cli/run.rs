//! `vllm-gateway run`: serves until told to stop.

use std::{io::IsTerminal, path::Path};

use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, complain, problems, runtime};
use crate::gateway::{Gateway, StartError};

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        let gateway = start(path).await?;
        serve(gateway).await
    });
    // A store that hangs must not keep the process: what could be flushed has been.
    runtime.shutdown_background();
    done
}

/// Starts; what is wrong with the configuration is printed as `check` prints it.
pub(super) async fn start(path: &Path) -> Result<Gateway, Failure> {
    match Gateway::start(path).await {
        Ok(gateway) => Ok(gateway),
        Err(StartError::Invalid(problems)) => {
            complain(problems::listed(&problems, std::io::stderr().is_terminal()).trim_end());
            Err(Failure::Usage)
        }
        Err(StartError::Failed(error)) => Err(Failure::Running(error)),
    }
}

/// SIGHUP reloads, SIGTERM and SIGINT drain, a second one ends at once.
pub(super) async fn serve(gateway: Gateway) -> Result<(), Failure> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = hangup.recv() => { gateway.reload().await; }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tokio::select! {
        () = gateway.shutdown() => Ok(()),
        _ = terminate.recv() => Err(anyhow::anyhow!("ended at once by a second signal").into()),
        _ = interrupt.recv() => Err(anyhow::anyhow!("ended at once by a second signal").into()),
    }
}
