//! How the programs that are compared are started.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use tokio::{net::TcpStream, time::sleep};

use crate::process::Process;

/// Starts it where it is to run.
pub(crate) fn start(command: &Command, under: &[String], folder: &Path) -> Process {
    let (first, rest) = under.split_first().expect("every proxy runs under some command");
    let mut whole = Command::new(first);
    whole.args(rest).arg(command.get_program()).args(command.get_args()).env("RUST_LOG", "warn");
    whole.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Process::start_with_log(whole, &folder.join("output"))
}

/// Waits until it serves. One that ended, as it does when its port is taken, is not waited for.
pub(crate) async fn wait_for(process: &Process, address: SocketAddr, folder: &Path) -> Result<(), String> {
    for _ in 0..3_000 {
        if !process.is_running() {
            return Err(format!("it has ended: {}", output(folder)));
        }
        if TcpStream::connect(address).await.is_ok() {
            return Ok(());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Err(format!("nobody listens on {address}: {}", output(folder)))
}

fn output(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("output")).unwrap_or_default()
}

/// What a program says of its version, or why it cannot be measured.
pub(crate) fn version(program: &str, option: &str, package: &str) -> Result<String, String> {
    let Output { stdout, stderr, .. } = Command::new(program).arg(option).output().map_err(|error| {
        format!("`{program}` cannot be run ({error}): install Debian's package, `apt-get install {package}`")
    })?;
    let said = [stdout, stderr].concat();
    Ok(String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned())
}
