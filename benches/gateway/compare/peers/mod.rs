//! Other gateways for language models: each one process on the one core, in front of the one mock, without any service
//! beside it. `scripts/peers` installs them.

mod litellm;
mod portkey;
mod sglang_router;
mod vllm_router;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use super::check::Check;

/// One of them.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// The file that pins its version, below `benches/gateway/peers`, and how its line there begins.
    pins: (&'static str, &'static str),
    /// What it runs on, and says its version; and Debian's package of it.
    runtime: (&'static str, &'static str),
    /// What to say of the settings beside the figures.
    settings: &'static str,
    /// The path that is answered with 200 when it is ready.
    pub(crate) ready: &'static str,
    /// How much of its answers can be demanded.
    pub(crate) check: Check,
    command: fn(&Start<'_>) -> Command,
    /// Lines that its clients have to add to the heads of their requests, given the mock.
    pub(crate) headers: fn(SocketAddr) -> String,
}

/// What the command line of a peer is made of.
pub(crate) struct Start<'s> {
    /// Where it is installed.
    installed: PathBuf,
    /// For its configuration.
    folder: &'s Path,
    address: SocketAddr,
    upstream: SocketAddr,
    model: &'s str,
    /// What clients authenticate with.
    key: &'s str,
}

/// All of them, in the order of the table.
const ALL: [&Peer; 4] = [&litellm::PEER, &vllm_router::PEER, &sglang_router::PEER, &portkey::PEER];

/// What is measured with them, unless something else is asked for.
pub(crate) const SCENARIOS: [&str; 6] = ["unary-1", "unary-64", "sse-400", "memory", "sse-40", "memory-40"];

impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Peer {}

/// Those of these names, separated by commas; all without names.
pub(crate) fn chosen(names: Option<&str>) -> Result<Vec<&'static Peer>, String> {
    let Some(names) = names else { return Ok(ALL.to_vec()) };
    let find = |name: &str| {
        let all = || ALL.map(|peer| peer.name).join(", ");
        let found = ALL.into_iter().find(|peer| peer.name == name);
        found.ok_or_else(|| format!("there is no peer `{name}`; there are {}", all()))
    };
    names.split(',').map(find).collect()
}

impl Peer {
    /// Version, what it runs on, and settings; or that it is not installed as it is pinned.
    pub(crate) fn describe(&self) -> Result<String, String> {
        let (file, line) = self.pins;
        let pins = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/gateway/peers").join(file);
        let pins = std::fs::read_to_string(pins).map_err(|error| format!("{file}: {error}"))?;
        let there = std::fs::read_to_string(self.installed().join(".pins"));
        if there.ok().as_ref() != Some(&pins) {
            return Err(format!(
                "{} is not installed, or not in the version pinned: `scripts/peers` installs them all, `scripts/peers {0}` this one",
                self.name
            ));
        }
        let pinned = pins.lines().find_map(|pinned| pinned.trim_start().strip_prefix(line));
        let version = pinned.unwrap_or_default().trim_matches(|sign| "\",".contains(sign));
        let (name, package) = self.runtime;
        let said = super::launch::version(&self.runtime(), "--version", package)?;
        let runtime =
            said.strip_prefix('v').map_or_else(|| said.clone(), |number| format!("{name} {number}"));
        Ok(format!("{} {version} ({runtime}): {}", self.name, self.settings))
    }

    pub(crate) fn command(
        &self,
        folder: &Path,
        address: SocketAddr,
        upstream: SocketAddr,
        model: &str,
        key: &str,
    ) -> Command {
        (self.command)(&Start { installed: self.installed(), folder, address, upstream, model, key })
    }

    fn installed(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers").join(self.name)
    }

    /// The program that runs it: of its own environment, where there is one.
    fn runtime(&self) -> String {
        let own = self.installed().join("bin").join(self.runtime.0);
        if own.exists() { own.display().to_string() } else { self.runtime.0.to_owned() }
    }
}

impl Start<'_> {
    /// A program that Python has installed, with the words of its command line.
    fn python(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(self.installed.join("bin").join(program));
        command.args(words);
        command
    }
}

/// Those that need nothing of their clients.
fn no_headers(_upstream: SocketAddr) -> String {
    String::new()
}
