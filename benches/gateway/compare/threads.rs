//! One gateway with two threads beside two gateways with one thread each: the same load on the same cores, in turns. What
//! the first takes more is what its threads take from each other: locks, and memory that both write to.
//!
//! Whoever has no more than two cores has none to spare for the load, so it cannot be seen there how much two threads get
//! done; but a request that costs what it costs alone is served as often by each of them.

use std::{
    fmt::Write,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use super::{
    client::{Tally, crowd},
    contender::{Candidate, Contender, Kind, Place},
    cpu::times_of_threads,
    machine::{Cores, run_on},
    measure::WARM_UP,
    mock::{Mock, Replays},
    recording::Workload,
    report::{median, number},
    scenario::{Figure, Load, Scenario},
    waiting::{all_times, begun, watch},
};
use crate::process::free_port;

/// What is measured.
pub(crate) const SCENARIOS: [&str; 3] = ["unary-64", "unary-256", "sse-64"];
/// What two threads may take more than one: 1.9 times the requests with twice the cores.
const MOST: f64 = 2.0 / 1.9;

/// How it is measured.
pub(crate) struct Run<'r> {
    pub(crate) cores: &'r Cores,
    pub(crate) model: &'r str,
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
}

/// Measures each gateway, and gives the table.
pub(crate) async fn compare(
    candidates: &[Candidate],
    run: &Run<'_>,
    scenarios: &[(Scenario, Arc<Workload>)],
    replays: &Replays,
) -> String {
    let upstream = free_port();
    let mock = Mock::start(&[upstream], replays.clone()).unwrap();
    // All run wherever there is room, the clients among them.
    let everywhere = run.cores.all();
    run_on(std::process::id(), &everywhere);
    let two = [run.cores.proxy, run.cores.others[0]];
    let mut table =
        "| what | two gateways with a thread each | one with two threads | of which the busier has | must |\n|---|---|---|---|---|"
            .to_owned();
    for candidate in candidates.iter().filter(|candidate| matches!(candidate.kind, Kind::Gateway(_))) {
        // A gateway has as many threads as it may use cores when it starts.
        let start = async |cores: &[usize]| {
            let place = Place { under: Cores::command(cores), upstream, model: run.model };
            let contender = Contender::start(candidate, &place).await.unwrap();
            run_on(contender.process_id(), &everywhere);
            contender
        };
        let sides = [vec![start(&two[..1]).await, start(&two[1..]).await], vec![start(&two).await]];
        for (scenario, workload) in scenarios {
            let (mut costs, mut shares) = ([Vec::new(), Vec::new()], Vec::new());
            for round in 0..run.rounds {
                for turn in 0..2 {
                    let side = (turn + round) % 2;
                    eprintln!(
                        "round {}: {}, {} with two threads in {}",
                        round + 1,
                        scenario.name,
                        candidate.name,
                        ["two", "one"][side]
                    );
                    let cost = cost(&sides[side], scenario, workload, run.length).await.unwrap();
                    costs[side].push(cost.each);
                    if side == 1 {
                        shares.push(cost.share);
                    }
                }
            }
            let mut ratios: Vec<f64> = costs[0].iter().zip(&costs[1]).map(|(two, one)| one / two).collect();
            ratios.sort_by(f64::total_cmp);
            let (ratio, least, greatest) = (median(&ratios), ratios[0], ratios[ratios.len() - 1]);
            let verdict = if ratio <= MOST { "✓" } else { "✗" };
            let [two, one] = costs.map(|costs| number(median(&costs)));
            let (name, figure) = (&candidate.name, figure_of(scenario).title());
            write!(
                table,
                "\n| {name}, {}: {figure} | {two} | {one}, {ratio:.2} × ({least:.2} to {greatest:.2}) {verdict} | {:.0} % | ≤ {MOST:.2} × |",
                scenario.title,
                median(&shares)
            )
            .unwrap();
        }
    }
    drop(mock);
    table
}

fn figure_of(scenario: &Scenario) -> Figure {
    match scenario.load {
        Load::Unary { .. } => Figure::CpuPerRequest,
        Load::Streams { .. } | Load::Open { .. } => Figure::CpuPerEvent,
    }
}

/// What two threads took.
struct Cost {
    /// Microseconds of a request or an event.
    each: f64,
    /// Of the busier one, in percent.
    share: f64,
}

/// What a request or an event costs the threads that serve, in microseconds, of these gateways together. What is stored
/// behind the answers is left out: one store is not two.
async fn cost(
    gateways: &[Contender],
    scenario: &Scenario,
    workload: &Arc<Workload>,
    length: Duration,
) -> Result<Cost, String> {
    let (Load::Unary { clients, .. }
    | Load::Streams { streams: clients, .. }
    | Load::Open { streams: clients }) = scenario.load;
    for gateway in gateways {
        gateway.settle().await;
    }
    let served = || -> Vec<Duration> {
        gateways.iter().flat_map(|gateway| times_of_threads(gateway.process_id(), "serve-")).collect()
    };
    let before = served();
    let tally = Arc::new(Tally::default());
    let each = clients / gateways.len();
    let mut crowds: Vec<_> = gateways.iter().map(|gateway| crowd(each, gateway, workload, &tally)).collect();
    for tasks in &mut crowds {
        begun(tasks, &tally, each).await?;
    }
    if let Some(tasks) = crowds.first_mut() {
        watch(tasks, WARM_UP + length).await?;
    }
    tally.end();
    for tasks in crowds {
        all_times(tasks).await?;
    }
    let spent: Vec<Duration> =
        served().iter().zip(&before).map(|(now, before)| now.saturating_sub(*before)).collect();
    let count = match figure_of(scenario) {
        Figure::CpuPerRequest => &tally.answers,
        _ => &tally.events,
    };
    let all: Duration = spent.iter().sum();
    let busiest = spent.iter().max().copied().unwrap_or_default();
    Ok(Cost {
        each: all.as_secs_f64() * 1e6 / count.load(Relaxed) as f64,
        share: 100.0 * busiest.as_secs_f64() / all.as_secs_f64(),
    })
}
