//! 64 models with 64 endpoints each and 100,000 apps beside one of each: the gateway, and nginx before as many servers,
//! in turns. What so many connections cost, they cost everybody.

use std::{collections::BTreeMap, fmt::Write, net::SocketAddr, sync::Arc, time::Duration};

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

pub(crate) const MODELS: u8 = 64;
pub(crate) const ENDPOINTS: u8 = 64;
pub(crate) const APPS: usize = 100_000;
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

/// A kind of proxy, once with few and once with many of everything.
struct Pair {
    name: String,
    proxies: [Contender; 2],
}

/// Measures these, each with few and with many of everything, and gives the table.
pub(crate) async fn compare(
    candidates: &[Candidate],
    run: &Run<'_>,
    scenarios: &[(Scenario, Arc<Workload>)],
    replays: &Replays,
) -> String {
    let one = free_port();
    let port = free_port().port();
    let address = |model, endpoint| SocketAddr::from(([127, 0, model + 1, endpoint + 1], port));
    let many = |model: u8| (0..ENDPOINTS).map(|endpoint| address(model, endpoint)).collect::<Vec<_>>();
    let models: Vec<_> = (0..MODELS).map(|model| (format!("{}-{model}", run.model), many(model))).collect();
    let all: Vec<SocketAddr> = models.iter().flat_map(|(_, endpoints)| endpoints.clone()).collect();
    let few = [(run.model.to_owned(), vec![one])];
    let sides: [&[Model]; 2] = [&few, &models];
    let mocks = [Mock::start(&[one], replays.clone()).unwrap(), Mock::start(&all, replays.clone()).unwrap()];
    let mut figures = BTreeMap::<(usize, usize), [Vec<Figures>; 2]>::new();
    for round in 0..run.rounds {
        // All anew in each round: where their memory comes to lie is a matter of luck.
        let mut pairs = Vec::new();
        for candidate in candidates {
            pairs.extend(start(candidate, run, sides).await);
        }
        for (place, (scenario, workload)) in scenarios.iter().enumerate() {
            for turn in 0..2 {
                let side = (turn + round) % 2;
                for (column, pair) in pairs.iter().enumerate() {
                    let (name, scenario_name) = (&pair.name, scenario.name);
                    eprintln!("round {}: {scenario_name}, {name} with {}", round + 1, ["one", "many"][side]);
                    let (Load::Unary { clients, .. }
                    | Load::Streams { streams: clients, .. }
                    | Load::Open { streams: clients }) = scenario.load;
                    let (proxy, mock) = (&pair.proxies[side], &mocks[side]);
                    let measured = amid(clients, proxy, workload, mock, WARM_UP, run.length).await.unwrap();
                    figures.entry((place, column)).or_default()[side].push(measured);
                }
            }
        }
    }
    let names: Vec<_> = candidates.iter().filter(|one| is_measured(one)).map(|one| &*one.name).collect();
    table(scenarios, &names, &figures)
}

/// A model and its servers.
type Model = (String, Vec<SocketAddr>);

fn is_measured(candidate: &Candidate) -> bool {
    matches!(candidate.kind, Kind::Gateway(_) | Kind::Nginx)
}

async fn start(candidate: &Candidate, run: &Run<'_>, sides: [&[Model]; 2]) -> Option<Pair> {
    let name = candidate.name.clone();
    let [few, many] = sides;
    let proxies = match &candidate.kind {
        Kind::Gateway(program) => {
            let start = |models, apps| {
                let folder = TempDir::new().unwrap();
                Contender::start_gateway(candidate, program, run.under, folder, models, apps)
            };
            [start(few, 1).await, start(many, APPS).await]
        }
        Kind::Nginx => {
            let start = async |models: &[Model]| {
                let servers: Vec<_> = models.iter().flat_map(|(_, servers)| servers.clone()).collect();
                let names: Vec<_> = models.iter().map(|(name, _)| name.clone()).collect();
                Contender::start_nginx(candidate, run.under, &servers, &names).await
            };
            [start(few).await, start(many).await]
        }
        _ => return None,
    };
    Some(Pair { name, proxies })
}

fn table(
    scenarios: &[(Scenario, Arc<Workload>)],
    names: &[&str],
    figures: &BTreeMap<(usize, usize), [Vec<Figures>; 2]>,
) -> String {
    let mut heads = String::new();
    for name in names {
        write!(heads, " {name}: one | {name}: many |").unwrap();
    }
    let mut table = format!("| what |{heads} must |\n|---|{}---|", "---|---|".repeat(names.len()));
    for (place, (scenario, _)) in scenarios.iter().enumerate() {
        for figure in scenario.figures.iter().filter(|figure| FIGURES.contains(figure)) {
            write!(table, "\n| {}: {} |", scenario.title, figure.title()).unwrap();
            for column in 0..names.len() {
                let [one, many] = figures[&(place, column)].each_ref().map(|rounds| {
                    rounds.iter().filter_map(|figures| figures.get(figure).copied()).collect::<Vec<f64>>()
                });
                let ratios: Vec<f64> = one.iter().zip(&many).map(|(one, many)| many / one).collect();
                let ratio = median(&ratios);
                let verdict = if ratio <= 1.05 { "✓" } else { "✗" };
                let [one, many] = [one, many].map(|figures| number(median(&figures)));
                write!(table, " {one} | {many}, {ratio:.2} × {verdict} |").unwrap();
            }
            table += " ≤ 1.05 × |";
        }
    }
    table
}
