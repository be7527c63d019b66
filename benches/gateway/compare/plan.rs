//! What the command line asks for: who is compared, in what, for how long.

use std::time::Duration;

use super::{
    contender::{Candidate, Kind},
    haproxy,
    launch::version,
    machine::Cores,
    nginx, peers,
    scenario::{SCENARIOS, Scenario, all},
};
use crate::{args::Args, gateway};

/// The comparison of few and many models, under the name by which it is chosen.
const MANY: &str = "many";
/// The comparison of one thread and two.
const THREADS: &str = "threads";

/// What is to be done.
pub(crate) struct Plan {
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) versions: Vec<String>,
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) many: bool,
    pub(crate) threads: bool,
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
    pub(crate) cores: Cores,
    /// The block of the document that its tables belong into.
    pub(crate) block: &'static str,
}

impl Plan {
    pub(crate) fn read(args: &Args, program: &str) -> Result<Self, String> {
        let only: Option<Vec<&str>> = args.text("--only").map(|names| names.split(',').collect());
        let names = all().map(|scenario| scenario.name).chain([MANY, THREADS]).collect::<Vec<_>>();
        if let Some(unknown) = only.iter().flatten().find(|name| !names.contains(name)) {
            return Err(format!("there is no scenario `{unknown}`; there are {}", names.join(", ")));
        }
        let peers = args.has("--peers");
        let only = only.unwrap_or_else(|| {
            let of_main = || SCENARIOS.iter().map(|scenario| scenario.name).chain([MANY, THREADS]).collect();
            if peers { peers::SCENARIOS.to_vec() } else { of_main() }
        });
        let wanted = |name: &str| only.contains(&name);
        let mut candidates = vec![Candidate { name: "direct".to_owned(), kind: Kind::Direct }];
        let mut versions = Vec::new();
        let mut add = |name: &str, kind: Kind, said: String| {
            candidates.push(Candidate { name: name.to_owned(), kind });
            versions.push(said);
        };
        let nginx = version("nginx", "-v", "nginx")?;
        add(
            "nginx",
            Kind::Nginx,
            format!("{}: {}", nginx.trim_start_matches("nginx version: "), nginx::SETTINGS),
        );
        if !peers && !args.has("--no-haproxy") {
            match version("haproxy", "-v", "haproxy") {
                Ok(said) => {
                    let short: Vec<&str> = said.split_whitespace().take(3).collect();
                    add("haproxy", Kind::Haproxy, format!("{}: {}", short.join(" "), haproxy::SETTINGS));
                }
                Err(missing) => eprintln!("without haproxy: {missing}"),
            }
        }
        let given = args.all("--program");
        let programs = if given.is_empty() { vec![program] } else { given };
        for given in programs {
            let (name, path) = given.split_once('=').unwrap_or(("gateway", given));
            let said = version(path, "--version", "")
                .map_err(|_| format!("`{path}` cannot be run: build it, or name another with --program"))?;
            add(name, Kind::Gateway(path.to_owned()), format!("{name} ({said}): {}", gateway::SETTINGS));
        }
        if peers {
            for peer in peers::chosen(args.text_if_any("--peers"))? {
                add(peer.name, Kind::Peer(peer), peer.describe()?);
            }
        }
        Ok(Self {
            candidates,
            versions,
            scenarios: all().filter(|scenario| wanted(scenario.name)).copied().collect(),
            many: wanted(MANY),
            threads: wanted(THREADS),
            rounds: args.number("--rounds").unwrap_or(5),
            length: Duration::from_secs_f64(args.number("--seconds").unwrap_or(3.0)),
            cores: Cores::divide(args.number("--core")),
            block: if peers { "peers" } else { "compare" },
        })
    }

    /// What the figures are of, for people to read.
    pub(crate) fn settings(&self) -> String {
        let mut text = String::new();
        for version in &self.versions {
            text += &format!("- {version}\n");
        }
        let marks = if self.block == "peers" {
            ""
        } else {
            " ✓✓ is what was aimed at, ✓ what must be, ✗ neither."
        };
        text + &format!(
            "\n{} rounds of {} s; medians, and in parentheses the least and the greatest ratio to nginx of a round.{marks} \
             Requests per second stand beside the share of its core that the proxy used: below 95 % it was client and mock \
             that could do no more.",
            self.rounds,
            self.length.as_secs_f64()
        )
    }
}
