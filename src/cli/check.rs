//! `vllm-gateway check`: everything that is wrong with the configuration, offline, in one run.

use std::{fmt::Write as _, io::IsTerminal, path::Path};

use clap::ValueEnum;
use vllm_gateway_admin::TokenDigest;
use vllm_gateway_config::{AdminOptions, Config, Loaded, Severity, picture};
use vllm_gateway_sdk::Services;

use super::{ConfigFile, Failure, print, problems, shown};

// What `check` passes, the start takes.
const _: () = assert!(AdminOptions::SHORTEST_TOKEN == TokenDigest::LEAST);

/// Options of `check`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) which: ConfigFile,
    /// How problems are printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Lets warnings fail, too.
    #[arg(long)]
    deny_warnings: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// `file:line:col: error: text`, then the picture of each pipeline.
    #[default]
    Text,
    /// A list of objects.
    Json,
}

pub(super) fn run(path: &Path, args: &Args) -> Result<(), Failure> {
    let Loaded { config, diagnostics } = Config::load(path, &Services::inert(), None);
    let errors = diagnostics.iter().filter(|problem| problem.severity == Severity::Error).count();
    let warnings = diagnostics.len() - errors;
    if args.format == Format::Json {
        print(&format!("{}\n", serde_json::to_string_pretty(&diagnostics)?))?;
    } else {
        let terminal = std::io::stdout().is_terminal();
        let mut text = problems::listed(&diagnostics, terminal);
        if terminal && config.is_none() {
            writeln!(text)?;
        }
        match &config {
            Some(config) => {
                if warnings > 0 {
                    writeln!(text)?;
                }
                text.push_str(&picture(config));
                writeln!(text, "\n{}: no errors, {warnings} warning{}", shown(path), plural(warnings))?;
            }
            None => writeln!(
                text,
                "{}: {errors} error{}, {warnings} warning{}",
                shown(path),
                plural(errors),
                plural(warnings)
            )?,
        }
        print(&text)?;
    }
    if config.is_none() || errors > 0 || (args.deny_warnings && warnings > 0) {
        return Err(Failure::Usage);
    }
    Ok(())
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
