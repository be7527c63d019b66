//! `--compare`: the gateway beside bare nginx, and haproxy where it is installed, or beside other gateways (`--peers`), on
//! the same core in turns.
//!
//! One core is the proxy's, the others are those of clients and mock. Each scenario is measured in rounds; in each, all
//! have their turn, so that what the machine does besides hits all alike, and ratios are taken within the round.

mod asked;
mod check;
mod client;
mod contender;
mod cpu;
mod haproxy;
mod launch;
mod machine;
mod many;
mod measure;
mod mock;
mod nginx;
mod peers;
mod plan;
mod recording;
mod report;
mod scenario;
mod threads;
mod waiting;

use std::{path::Path, sync::Arc};

pub(crate) use self::{
    contender::{Contender, Place, gateway_of},
    cpu::{ticks, times_of_threads},
    mock::{Mock, Pace},
    recording::{Workload, record},
    report::median,
};

use self::{
    contender::{Candidate, Kind},
    measure::{ask_first, measure},
    mock::Replays,
    plan::Plan,
    report::{Results, replace_block},
    scenario::{Load, SCENARIOS, Scenario, short_stream},
};
use crate::{args::Args, process::free_port};

const MODEL: &str = "Qwen3-32B";

/// Measures what the command line asks for, and prints the tables.
pub(crate) async fn run(args: &Args, program: &str) -> Result<(), String> {
    if args.has("--write") && args.text("--only").is_some() {
        return Err(
            "`--write` puts its tables in the place of all that stand there: leave `--only` out".to_owned()
        );
    }
    let plan = Plan::read(args, program)?;
    machine::raise_open_files();
    let description = machine::describe(&plan.cores);
    let mut chosen = plan.scenarios.clone();
    let of_parts = SCENARIOS.iter().filter(|scenario| {
        plan.many && many::SCENARIOS.contains(&scenario.name)
            || plan.threads && threads::SCENARIOS.contains(&scenario.name)
    });
    for scenario in of_parts {
        if !chosen.iter().any(|other| other.name == scenario.name) {
            chosen.push(*scenario);
        }
    }
    let mut workloads: Vec<Workload> = chosen.iter().map(Scenario::workload).collect();
    let mut first = short_stream();
    let replays = record(&mut workloads.iter_mut().chain([&mut first]).collect::<Vec<_>>(), MODEL).await;
    let first = Arc::new(first);
    let workloads: Vec<_> = chosen.iter().copied().zip(workloads.into_iter().map(Arc::new)).collect();

    // Each part is printed when it is known: the rest may fail.
    let mut text = String::new();
    let mut tell = |part: String| {
        println!("{part}");
        text += &part;
    };
    tell(format!("{description}.\n\n{}\n", plan.settings()));
    if !plan.scenarios.is_empty() {
        let own = &workloads[..plan.scenarios.len()];
        tell(format!("\n{}\n", plan.compare(own, &first, &replays).await.table()));
    }
    let those = |names: &[&str]| -> Vec<_> {
        workloads.iter().filter(|(scenario, _)| names.contains(&scenario.name)).cloned().collect()
    };
    let (rounds, length) = (plan.rounds, plan.length);
    if plan.many {
        let run = many::Run { under: &plan.cores.under(), model: MODEL, rounds, length };
        let table = many::compare(&plan.candidates, &run, &those(&many::SCENARIOS), &replays).await;
        let (models, endpoints, apps) = (many::MODELS, many::ENDPOINTS, many::APPS);
        tell(format!(
            "\nOne model, one server, one app; and {models} models, {endpoints} servers each, {apps} apps. nginx has all servers \
             in one `upstream`, and knows of no apps:\n\n{table}\n"
        ));
    }
    // The last: it takes this process off its core.
    if plan.threads {
        let run = threads::Run { cores: &plan.cores, model: MODEL, rounds, length };
        let table = threads::compare(&plan.candidates, &run, &those(&threads::SCENARIOS), &replays).await;
        tell(format!(
            "\nTwo threads that share a gateway, and two that share nothing, all on both cores:\n\n{table}\n"
        ));
    }
    if args.has("--write") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
        let document = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let document =
            replace_block(&document, plan.block, &text).ok_or("docs/performance.md has no such block")?;
        std::fs::write(path, document).map_err(|error| error.to_string())?;
    }
    Ok(())
}

impl Plan {
    /// All rounds of all scenarios.
    async fn compare(
        &self,
        scenarios: &[(Scenario, Arc<Workload>)],
        first: &Arc<Workload>,
        replays: &Replays,
    ) -> Results {
        let upstream = free_port();
        let mock = Mock::start(&[upstream], replays.clone()).unwrap();
        let place = Place { under: self.cores.under(), upstream, model: MODEL };
        let mut results = Results::new(self.candidates.clone(), self.scenarios.clone());
        for (number, (scenario, workload)) in scenarios.iter().enumerate() {
            // Memory is that of a process in which nothing of earlier loads lies about; and a peer that still works on
            // what its clients have left would work on the core of the next.
            let is_open = matches!(scenario.load, Load::Open { .. });
            let is_kept = |candidate: &Candidate| !is_open && !candidate.kind.is_peer();
            let mut running: Vec<Option<Contender>> = self.candidates.iter().map(|_| None).collect();
            for round in 0..self.rounds {
                for turn in 0..self.candidates.len() {
                    let at = (turn + round) % self.candidates.len();
                    let candidate = &self.candidates[at];
                    if candidate.kind == Kind::Direct && !scenario.needs_direct() {
                        continue;
                    }
                    // What has failed once may have taken minutes to do so.
                    if results.faults[number][at].is_some() {
                        continue;
                    }
                    eprintln!("round {}: {} through {}", round + 1, scenario.name, candidate.name);
                    let measured = async {
                        let contender = match running[at].take() {
                            Some(contender) => contender,
                            None => Contender::start(candidate, &place).await?,
                        };
                        let first = scenario.first_workload(workload, first);
                        if let Some(first) = first.filter(|_| candidate.kind.is_peer()) {
                            ask_first(&contender, &first).await?;
                        }
                        let figures = measure(scenario, &contender, workload, &mock, self.length).await?;
                        running[at] = Some(contender).filter(|_| is_kept(candidate));
                        Ok::<_, String>(figures)
                    };
                    match measured.await {
                        Ok(figures) => results.figures[number][at].push(figures),
                        Err(fault) if candidate.kind.is_peer() => {
                            eprintln!("{}: {fault}", candidate.name);
                            results.faults[number][at] = Some(fault);
                        }
                        Err(fault) => panic!("{}: {fault}", candidate.name),
                    }
                }
            }
        }
        results
    }
}
