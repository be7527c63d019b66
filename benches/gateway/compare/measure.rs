//! One scenario against one contender, once.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    client::{Tally, Times, crowd},
    contender::Contender,
    cpu::Spent,
    mock::Mock,
    recording::Workload,
    scenario::{Figure, Load, Scenario},
};

/// How long clients ask before it is counted.
const WARM_UP: Duration = Duration::from_millis(300);

pub(crate) type Figures = BTreeMap<Figure, f64>;

/// Measures for so long. Added times are given as they are seen: what is added is known when the direct way is.
pub(crate) async fn measure(
    scenario: &Scenario,
    contender: &Contender,
    workload: &Arc<Workload>,
    mock: &Mock,
    length: Duration,
) -> Figures {
    match scenario.load {
        Load::Unary { clients, .. } => whole(clients, contender, workload, length).await,
        Load::Streams { streams, .. } => followed(streams, contender, workload, mock, length).await,
        Load::Open { streams } => open(streams, contender, workload).await,
    }
}

async fn whole(clients: usize, contender: &Contender, workload: &Arc<Workload>, length: Duration) -> Figures {
    contender.settle().await;
    let tally = Arc::new(Tally::default());
    let at_start = contender.spent();
    let mut tasks = crowd(clients, contender, workload, &tally);
    let window = Window::over(&mut tasks, &tally, clients, contender, length).await;
    tally.end();
    let mut times = Times::default();
    while let Some(ended) = tasks.join_next().await {
        times.whole.extend(ended.unwrap().whole);
    }
    times.whole.sort_unstable();
    let requests = tally.answers.load(Relaxed) as f64;
    let mut figures = Figures::from([
        (Figure::RequestsPerSecond, times.whole.len() as f64 / window.elapsed.as_secs_f64()),
        (Figure::AddedP50, percentile(&times.whole, 50) / 1e3),
        (Figure::AddedP99, percentile(&times.whole, 99) / 1e3),
    ]);
    if let Some(at_start) = at_start {
        // From rest to rest: what a request leaves to be done later is counted as well.
        contender.settle().await;
        let spent = contender.spent().unwrap().since(&at_start).as_secs_f64() * 1e6;
        figures.insert(Figure::CpuPerRequest, spent / requests);
        figures.insert(Figure::CpuPerMegabyte, spent / (requests * workload.prompt as f64 / 1e6));
        figures.insert(Figure::Busy, window.busy());
    }
    figures
}

async fn followed(
    streams: usize,
    contender: &Contender,
    workload: &Arc<Workload>,
    mock: &Mock,
    length: Duration,
) -> Figures {
    contender.settle().await;
    let tally = Arc::new(Tally::default());
    let mut tasks = crowd(streams, contender, workload, &tally);
    let window = Window::streaming(&mut tasks, &tally, streams, contender, mock, length).await;
    tally.end();
    let mut figures = Figures::new();
    if streams == 1 {
        let times = tasks.join_next().await.unwrap().unwrap();
        let sorted = |mut times: Vec<u64>| {
            times.sort_unstable();
            times
        };
        figures.insert(Figure::AddedGapP99, percentile(&sorted(times.gaps), 99) / 1e6);
        figures.insert(Figure::AddedFirstEvent, percentile(&sorted(times.first), 50) / 1e3);
    }
    // The others are left in the middle: what is measured is the events, not how streams begin and end.
    tasks.shutdown().await;
    if let Some(spent) = window.spent {
        figures.insert(Figure::CpuPerEvent, spent.as_secs_f64() * 1e6 / window.events as f64);
        figures.insert(Figure::BytesPerEvent, window.sent as f64 / window.events as f64);
        figures.insert(Figure::Busy, window.busy());
    }
    figures
}

/// What an open stream takes of a proxy that has served before, and what the proxy takes before that.
async fn open(streams: usize, contender: &Contender, workload: &Arc<Workload>) -> Figures {
    let Some(base) = contender.resident() else { return Figures::new() };
    let tally = Arc::new(Tally::default());
    let mut first = crowd(4, contender, workload, &tally);
    begun(&mut first, &tally, 4).await;
    first.shutdown().await;
    contender.settle().await;
    let before = contender.resident().unwrap();
    let tally = Arc::new(Tally::default());
    let mut tasks = crowd(streams, contender, workload, &tally);
    begun(&mut tasks, &tally, streams).await;
    sleep(Duration::from_secs(1)).await;
    let after = contender.resident().unwrap();
    tasks.shutdown().await;
    Figures::from([
        (Figure::BaseMemory, base as f64),
        (Figure::MemoryPerStream, after.saturating_sub(before) as f64 / streams as f64),
    ])
}

/// The time in which it is counted.
struct Window {
    elapsed: Duration,
    spent: Option<Duration>,
    events: u64,
    sent: u64,
}

impl Window {
    async fn over(
        tasks: &mut JoinSet<Times>,
        tally: &Tally,
        clients: usize,
        contender: &Contender,
        length: Duration,
    ) -> Self {
        begun(tasks, tally, clients).await;
        watch(tasks, WARM_UP).await;
        let (before, began) = (contender.spent(), Instant::now());
        tally.count();
        watch(tasks, length).await;
        let elapsed = began.elapsed();
        let spent = before.map(|before: Spent| contender.spent().unwrap().since(&before));
        Self { elapsed, spent, events: 0, sent: 0 }
    }

    async fn streaming(
        tasks: &mut JoinSet<Times>,
        tally: &Tally,
        clients: usize,
        contender: &Contender,
        mock: &Mock,
        length: Duration,
    ) -> Self {
        begun(tasks, tally, clients).await;
        watch(tasks, WARM_UP).await;
        let (events, sent) = (tally.events.load(Relaxed), mock.sent());
        let (before, began) = (contender.spent(), Instant::now());
        tally.count();
        watch(tasks, length).await;
        Self {
            spent: before.map(|before: Spent| contender.spent().unwrap().since(&before)),
            elapsed: began.elapsed(),
            events: tally.events.load(Relaxed) - events,
            sent: mock.sent() - sent,
        }
    }

    fn busy(&self) -> f64 {
        self.spent.map_or(0.0, |spent| 100.0 * spent.as_secs_f64() / self.elapsed.as_secs_f64())
    }
}

/// Waits until each client has seen something.
async fn begun(tasks: &mut JoinSet<Times>, tally: &Tally, clients: usize) {
    while tally.begun.load(Relaxed) < clients as u64 {
        watch(tasks, Duration::from_millis(5)).await;
    }
}

/// Lets the clients work for so long. None of them ends by itself, unless it has found a fault.
async fn watch(tasks: &mut JoinSet<Times>, length: Duration) {
    if let Ok(Some(ended)) = timeout(length, tasks.join_next()).await {
        ended.unwrap();
        panic!("a client has ended before it was told to");
    }
}

fn percentile(sorted: &[u64], percent: usize) -> f64 {
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).map_or(f64::NAN, |time| *time as f64)
}
