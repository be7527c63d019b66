//! `vllm-gateway run`: serves until told to stop.

use std::{io::IsTerminal, path::Path};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, complain, problems, runtime};
use crate::gateway::{Gateway, StartError};

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let runtime = runtime()?;
    let done = runtime.block_on(async {
        let _listening = outlive_file_limits()?;
        // Heard from now on: before that, a signal would end the process whatever it is at.
        let mut signals = Signals::listen()?;
        let gateway = tokio::select! {
            started = start(path) => started?,
            () = signals.end() => return Ok(()),
        };
        serve(gateway, signals).await
    });
    // A store that hangs must not keep the process: what could be flushed has been.
    runtime.shutdown_background();
    done
}

/// A file that reaches the limit of its size (`ulimit -f`, `LimitFSIZE`) is an error of the write, as a full disk is, and
/// must not end the process: the signal that comes with it is heard, and that is all.
fn outlive_file_limits() -> std::io::Result<Signal> {
    /// The same number on every system that this runs on; tokio has no name for it.
    const SIGXFSZ: i32 = 25;
    signal(SignalKind::from_raw(SIGXFSZ))
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

/// The signals that a gateway listens to.
pub(super) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits until somebody wants it to end.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// SIGHUP reloads, SIGTERM and SIGINT drain, a second one ends at once.
pub(super) async fn serve(gateway: Gateway, mut signals: Signals) -> Result<(), Failure> {
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => { gateway.reload().await; }
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    let ending = gateway.ending();
    tokio::select! {
        () = gateway.shutdown() => return Ok(()),
        () = signals.end() => {}
    }
    ending.cut();
    Err(anyhow::anyhow!("ended at once by a second signal").into())
}
