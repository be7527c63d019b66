//! 64 models with 64 endpoints each and 100,000 apps beside one of each: the gateway alone, in turns.

use std::{fmt::Write, net::SocketAddr, sync::Arc, time::Duration};

use tempfile::TempDir;

use super::{
    contender::{Candidate, Contender, Kind},
    measure::{Figures, amid},
    mock::{Mock, Replays},
    recording::Workload,
    report::{median, number},
    scenario::{Figure, Load, Scenario},
};
use crate::process::free_port;

const MODELS: u8 = 64;
const ENDPOINTS: u8 = 64;
const APPS: usize = 100_000;
/// What is measured with both.
pub(crate) const SCENARIOS: [&str; 4] = ["unary-1", "unary-64", "unary-256", "sse-400"];
const FIGURES: [Figure; 2] = [Figure::CpuPerRequest, Figure::CpuPerEvent];
/// Enough for every endpoint to have its first connections.
const WARM_UP: Duration = Duration::from_secs(3);

/// How it is measured.
pub(crate) struct Run<'r> {
    pub(crate) under: &'r [String],
    pub(crate) model: &'r str,
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
}

/// Measures one gateway with few and one with many of everything, and gives the table.
pub(crate) async fn compare(
    candidate: &Candidate,
    run: &Run<'_>,
    scenarios: &[(Scenario, Arc<Workload>)],
    replays: &Replays,
) -> String {
    let Kind::Gateway(program) = &candidate.kind else { return String::new() };
    let one = free_port();
    let port = free_port().port();
    let address = |model, endpoint| SocketAddr::from(([127, 0, model + 1, endpoint + 1], port));
    let many = |model: u8| (0..ENDPOINTS).map(|endpoint| address(model, endpoint)).collect::<Vec<_>>();
    let models: Vec<_> = (0..MODELS).map(|model| (format!("{}-{model}", run.model), many(model))).collect();
    let all: Vec<SocketAddr> = models.iter().flat_map(|(_, endpoints)| endpoints.clone()).collect();
    let few = [(run.model.to_owned(), vec![one])];
    let mocks = [Mock::start(&[one], replays.clone()).unwrap(), Mock::start(&all, replays.clone()).unwrap()];
    let mut figures: Vec<[Vec<Figures>; 2]> = vec![<[_; 2]>::default(); scenarios.len()];
    for round in 0..run.rounds {
        // Both anew in each round: where their memory comes to lie is a matter of luck.
        let start = |models, apps| {
            Contender::start_gateway(candidate, program, run.under, TempDir::new().unwrap(), models, apps)
        };
        let gateways = [start(&few, 1).await, start(&models[..], APPS).await];
        for (place, (scenario, workload)) in scenarios.iter().enumerate() {
            for turn in 0..2 {
                let side = (turn + round) % 2;
                eprintln!("round {}: {} with {}", round + 1, scenario.name, ["one", "many"][side]);
                let (Load::Unary { clients, .. }
                | Load::Streams { streams: clients, .. }
                | Load::Open { streams: clients }) = scenario.load;
                let (gateway, mock) = (&gateways[side], &mocks[side]);
                let measured = amid(clients, gateway, workload, mock, WARM_UP, run.length).await.unwrap();
                figures[place][side].push(measured);
            }
        }
    }
    table(scenarios, &figures)
}

fn table(scenarios: &[(Scenario, Arc<Workload>)], figures: &[[Vec<Figures>; 2]]) -> String {
    let mut table = format!(
        "| what | one model, one endpoint, one app | {MODELS} models, {ENDPOINTS} endpoints each, {APPS} apps | must |\n|---|---|---|---|"
    );
    for ((scenario, _), sides) in scenarios.iter().zip(figures) {
        for figure in scenario.figures.iter().filter(|figure| FIGURES.contains(figure)) {
            let [one, many] = sides.each_ref().map(|rounds| {
                rounds.iter().filter_map(|figures| figures.get(figure).copied()).collect::<Vec<f64>>()
            });
            let ratios: Vec<f64> = one.iter().zip(&many).map(|(one, many)| many / one).collect();
            let ratio = median(&ratios);
            let verdict = if ratio <= 1.05 { "✓" } else { "✗" };
            write!(
                table,
                "\n| {}: {} | {} | {}, {ratio:.2} × {verdict} | ≤ 1.05 × |",
                scenario.title,
                figure.title(),
                number(median(&one)),
                number(median(&many))
            )
            .unwrap();
        }
    }
    table
}
