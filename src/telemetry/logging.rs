//! Log lines: text on a terminal, JSON otherwise, level by `RUST_LOG`.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Begins to write log lines to standard error. A second call changes nothing.
pub(crate) fn init(format: LogFormat) {
    let terminal = std::io::stderr().is_terminal();
    // Whoever can reach a port with TLS makes rustls complain, as often as they like: what fails is told by those who call it.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,salvo_core=warn,rustls=off"));
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    let json = format == LogFormat::Json || (format == LogFormat::Auto && !terminal);
    let _ =
        if json { lines.json().flatten_event(true).try_init() } else { lines.with_target(false).try_init() };
}
