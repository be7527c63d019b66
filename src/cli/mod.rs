//! The command line. Exit status: 0 done, 1 failed while running, 2 bad usage or invalid configuration.

mod address;
mod check;
mod demo;
mod problems;
mod reference;
mod run;
mod simulate;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};

use crate::telemetry::logging::{self, LogFormat};

/// The gateway in front of vLLM servers: one pipeline, declared in one file.
#[derive(Parser)]
#[command(name = "vllm-gateway", version = VERSION, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration to serve [default: ./gateway.toml, then /etc/vllm-gateway/gateway.toml].
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value_t)]
    log_format: LogFormat,
}

#[derive(Subcommand)]
enum Command {
    /// Serves gateway.toml (what happens without a command, too).
    Run(ConfigFile),
    /// Serves a demonstration that needs nothing: a simulated vLLM, an embedded store, an app and its key.
    Demo(demo::Args),
    /// Says everything that is wrong with gateway.toml, offline, and draws its pipelines.
    Check(check::Args),
    /// Lists the linked plugins; with a name, its options.
    Plugins {
        /// The plugin to explain.
        name: Option<String>,
    },
    /// Prints the JSON Schema of gateway.toml, options of plugins included.
    Schema,
    /// Serves a simulated vLLM, to try, test or measure a gateway without a GPU.
    Simulate(simulate::Args),
    /// Prints completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Which configuration a command reads.
#[derive(clap::Args)]
struct ConfigFile {
    /// The configuration [default: ./gateway.toml, then /etc/vllm-gateway/gateway.toml].
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// The same, as an option.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("VLLM_GATEWAY_COMMIT"), ")");

/// How a command ended, where it did not simply succeed.
pub(crate) enum Failure {
    /// Bad usage or invalid configuration; what is wrong has been printed.
    Usage,
    /// It failed while running.
    Running(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Running(error.into())
    }
}

pub(crate) fn main() -> ExitCode {
    let Cli { command, config, log_format } = Cli::parse();
    logging::init(log_format);
    let command = command.unwrap_or(Command::Run(ConfigFile { config: None, file: None }));
    if config.is_some() {
        let conflict = match &command {
            Command::Run(which) | Command::Check(check::Args { which, .. }) => which
                .is_named()
                .then_some("the configuration is named twice: before the command and after it"),
            _ => Some("this command reads no configuration, so `--config` means nothing to it"),
        };
        if let Some(message) = conflict {
            Cli::command().error(ErrorKind::ArgumentConflict, message).exit();
        }
    }
    let done = match command {
        Command::Run(which) => which.find(config).and_then(|path| run::run(&path)),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => args.which.find(config).and_then(|path| check::run(&path, &args)),
        Command::Plugins { name } => reference::plugins(name.as_deref()),
        Command::Schema => reference::schema(),
        Command::Simulate(args) => simulate::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "vllm-gateway", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage) => ExitCode::from(2),
        Err(Failure::Running(error)) => {
            complain(&format!("error: {}", on_one_line(&error)));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, without what one says in the words of the other.
fn on_one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

impl ConfigFile {
    fn is_named(&self) -> bool {
        self.file.is_some() || self.config.is_some()
    }

    /// The file to use: the one named for the command or before it, else the first that there is.
    fn find(&self, before: Option<PathBuf>) -> Result<PathBuf, Failure> {
        const PLACES: [&str; 2] = ["gateway.toml", "/etc/vllm-gateway/gateway.toml"];
        let given = self.file.clone().or_else(|| self.config.clone()).or(before);
        let found = given.or_else(|| PLACES.into_iter().map(PathBuf::from).find(|path| path.exists()));
        found.ok_or_else(|| {
            complain("error: there is no gateway.toml here and none in /etc/vllm-gateway; name one with --config FILE, or try `vllm-gateway demo`");
            Failure::Usage
        })
    }
}

/// A file as people read it: `./gateway.toml` is `gateway.toml`.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix("./").unwrap_or(path).display().to_string()
}

/// Prints to standard output. A reader that has left, as `head` does, is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints a line to standard error.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// The runtime that everything is served on.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
