//! `--compare`: the gateway beside bare nginx, and haproxy where it is installed, on the same core in turns.
//!
//! One core is the proxy's, the others are those of clients and mock. Each scenario is measured in rounds; in each, all
//! have their turn, so that what the machine does besides hits all alike, and ratios are taken within the round.

mod client;
mod contender;
mod cpu;
mod haproxy;
mod machine;
mod many;
mod measure;
mod mock;
mod nginx;
mod recording;
mod report;
mod scenario;

use std::{path::Path, sync::Arc, time::Duration};

pub(crate) use self::{
    contender::{Contender, Place, gateway_of},
    cpu::ticks,
    mock::{Mock, Pace},
    recording::{Workload, record},
    report::median,
};

use self::{
    contender::{Candidate, Kind, version},
    machine::Cores,
    measure::measure,
    mock::Replays,
    report::{Results, replace_block},
    scenario::{Load, SCENARIOS, Scenario},
};
use crate::{args::Args, gateway, process::free_port};

const MODEL: &str = "Qwen3-32B";
/// The comparison of few and many models, under the name by which it is chosen.
const MANY: &str = "many";

/// What is to be done.
struct Plan {
    candidates: Vec<Candidate>,
    versions: Vec<String>,
    scenarios: Vec<Scenario>,
    many: bool,
    rounds: usize,
    length: Duration,
    cores: Cores,
}

/// Measures what the command line asks for, and prints the tables.
pub(crate) async fn run(args: &Args, program: &str) -> Result<(), String> {
    let plan = Plan::read(args, program)?;
    machine::raise_open_files();
    let description = machine::describe(&plan.cores);
    let mut chosen = plan.scenarios.clone();
    let of_many = SCENARIOS.iter().filter(|scenario| many::SCENARIOS.contains(&scenario.name));
    for scenario in of_many.filter(|_| plan.many) {
        if !chosen.iter().any(|other| other.name == scenario.name) {
            chosen.push(*scenario);
        }
    }
    let mut workloads: Vec<Workload> = chosen.iter().map(Scenario::workload).collect();
    let replays = record(&mut workloads.iter_mut().collect::<Vec<_>>(), MODEL).await;
    let workloads: Vec<_> = chosen.iter().copied().zip(workloads.into_iter().map(Arc::new)).collect();

    let mut text = format!("{description}.\n\n{}\n", plan.settings());
    if !plan.scenarios.is_empty() {
        let own = &workloads[..plan.scenarios.len()];
        text += &format!("\n{}\n", plan.compare(own, &replays).await.table());
    }
    if plan.many {
        let of_many = workloads.iter().filter(|(scenario, _)| many::SCENARIOS.contains(&scenario.name));
        let of_many: Vec<_> = of_many.cloned().collect();
        let run =
            many::Run { under: &plan.cores.under(), model: MODEL, rounds: plan.rounds, length: plan.length };
        for candidate in &plan.candidates {
            if matches!(candidate.kind, Kind::Gateway(_)) {
                let table = many::compare(candidate, &run, &of_many, &replays).await;
                text += &format!("\n`{}`:\n\n{table}\n", candidate.name);
            }
        }
    }
    println!("{text}");
    if args.has("--write") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
        let document = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let document =
            replace_block(&document, "compare", &text).ok_or("docs/performance.md has no such block")?;
        std::fs::write(path, document).map_err(|error| error.to_string())?;
    }
    Ok(())
}

impl Plan {
    fn read(args: &Args, program: &str) -> Result<Self, String> {
        let only: Option<Vec<&str>> = args.text("--only").map(|names| names.split(',').collect());
        let names = SCENARIOS.iter().map(|scenario| scenario.name).chain([MANY]).collect::<Vec<_>>();
        if let Some(unknown) = only.iter().flatten().find(|name| !names.contains(name)) {
            return Err(format!("there is no scenario `{unknown}`; there are {}", names.join(", ")));
        }
        let wanted = |name: &str| only.as_ref().is_none_or(|only| only.contains(&name));
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
        if !args.has("--no-haproxy") {
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
        Ok(Self {
            candidates,
            versions,
            scenarios: SCENARIOS.iter().filter(|scenario| wanted(scenario.name)).copied().collect(),
            many: wanted(MANY),
            rounds: args.number("--rounds").unwrap_or(5),
            length: Duration::from_secs_f64(args.number("--seconds").unwrap_or(3.0)),
            cores: Cores::divide(args.number("--core")),
        })
    }

    /// What the figures are of, for people to read.
    fn settings(&self) -> String {
        let mut text = String::new();
        for version in &self.versions {
            text += &format!("- {version}\n");
        }
        text + &format!(
            "\n{} rounds of {} s; medians, and in parentheses the least and the greatest ratio to nginx of a round. ✓✓ is what \
             was aimed at, ✓ what must be, ✗ neither. Requests per second stand beside the share of its core that the proxy used: \
             below 95 % it was client and mock that could do no more.",
            self.rounds,
            self.length.as_secs_f64()
        )
    }

    /// All rounds of all scenarios.
    async fn compare(&self, scenarios: &[(Scenario, Arc<Workload>)], replays: &Replays) -> Results {
        let upstream = free_port();
        let mock = Mock::start(&[upstream], replays.clone()).unwrap();
        let place = Place { under: self.cores.under(), upstream, model: MODEL };
        let mut results = Results::new(self.candidates.clone(), self.scenarios.clone());
        for (number, (scenario, workload)) in scenarios.iter().enumerate() {
            // Memory is that of a process in which nothing of earlier loads lies about.
            let anew = matches!(scenario.load, Load::Open { .. });
            let mut running: Vec<Option<Contender>> = self.candidates.iter().map(|_| None).collect();
            for round in 0..self.rounds {
                for turn in 0..self.candidates.len() {
                    let at = (turn + round) % self.candidates.len();
                    let candidate = &self.candidates[at];
                    eprintln!("round {}: {} through {}", round + 1, scenario.name, candidate.name);
                    let contender = match running[at].take() {
                        Some(contender) => contender,
                        None => Contender::start(candidate, &place).await,
                    };
                    let figures = measure(scenario, &contender, workload, &mock, self.length).await;
                    results.figures[number][at].push(figures);
                    running[at] = Some(contender).filter(|_| !anew);
                }
            }
        }
        results
    }
}
