//! One scenario against one contender, once.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{
    client::{Crowd, Tally, Times, crowd},
    contender::Contender,
    cpu::Spent,
    mock::Mock,
    recording::Workload,
    scenario::{Figure, Load, Scenario},
    waiting::{all_times, begun, times_of, watch},
};

/// How long clients ask before times are noted.
pub(crate) const WARM_UP: Duration = Duration::from_millis(300);
/// How long a peer is asked before it is measured: what it loads and compiles with its first requests is not their cost.
const FIRST: Duration = Duration::from_secs(3);

pub(crate) type Figures = BTreeMap<Figure, f64>;

/// Measures for so long. Added times are given as they are seen: what is added is known when the direct way is.
pub(crate) async fn measure(
    scenario: &Scenario,
    contender: &Contender,
    workload: &Arc<Workload>,
    mock: &Mock,
    length: Duration,
) -> Result<Figures, String> {
    match scenario.load {
        Load::Unary { clients, .. } => to_rest(clients, contender, workload, mock, length).await,
        Load::Streams { streams, pace: None } if streams > 1 => {
            to_rest(streams, contender, workload, mock, length).await
        }
        Load::Streams { streams, .. } => followed(streams, contender, workload, mock, length).await,
        Load::Open { streams } => open(streams, contender, workload).await,
    }
}

/// What one does with its first requests, apart from all that is measured. All answers are read to their end: some would
/// go on reading those that are left.
pub(crate) async fn ask_first(contender: &Contender, workload: &Arc<Workload>) -> Result<(), String> {
    let tally = Arc::new(Tally::default());
    let mut tasks = crowd(8, contender, workload, &tally);
    begun(&mut tasks, &tally, 8).await?;
    watch(&mut tasks, FIRST).await?;
    tally.end();
    all_times(tasks).await?;
    contender.settle().await;
    Ok(())
}

/// From rest to rest: no bytes are on their way before or after, in no buffer, and what a request leaves to be done later
/// has been done. So what was spent is what was spent on all answers that came.
async fn to_rest(
    clients: usize,
    contender: &Contender,
    workload: &Arc<Workload>,
    mock: &Mock,
    length: Duration,
) -> Result<Figures, String> {
    contender.settle().await;
    let tally = Arc::new(Tally::default());
    let (at_start, sent) = (contender.spent(), mock.sent());
    let mut tasks = crowd(clients, contender, workload, &tally);
    let window = Window::of(&mut tasks, &tally, clients, contender, mock, WARM_UP, length).await?;
    tally.end();
    let times = all_times(tasks).await?;
    let mut figures = Figures::from([
        (Figure::RequestsPerSecond, window.answers as f64 / window.elapsed.as_secs_f64()),
        (Figure::AddedP50, percentile(&times, 50) / 1e3),
        (Figure::AddedP99, percentile(&times, 99) / 1e3),
    ]);
    if let Some(at_start) = at_start {
        contender.settle().await;
        let spent = contender.spent().unwrap().since(&at_start);
        let (answers, events) = (tally.answers.load(Relaxed), tally.events.load(Relaxed));
        figures.append(&mut costs(spent, answers, events, mock.sent() - sent, workload));
        figures.insert(Figure::Busy, window.busy());
    }
    Ok(figures)
}

/// Amid the load: what comes before, the first use of thousands of connections among it, is over.
pub(crate) async fn amid(
    clients: usize,
    contender: &Contender,
    workload: &Arc<Workload>,
    mock: &Mock,
    warm_up: Duration,
    length: Duration,
) -> Result<Figures, String> {
    contender.settle().await;
    let tally = Arc::new(Tally::default());
    let mut tasks = crowd(clients, contender, workload, &tally);
    let window = Window::of(&mut tasks, &tally, clients, contender, mock, warm_up, length).await?;
    tasks.shutdown().await;
    let costs = |spent| costs(spent, window.answers, window.events, window.sent, workload);
    Ok(window.spent.map_or_else(Figures::new, costs))
}

/// Streams that are as slow as the mock is: nothing waits in a buffer at any time.
async fn followed(
    streams: usize,
    contender: &Contender,
    workload: &Arc<Workload>,
    mock: &Mock,
    length: Duration,
) -> Result<Figures, String> {
    contender.settle().await;
    let tally = Arc::new(Tally::default());
    let mut tasks = crowd(streams, contender, workload, &tally);
    let window = Window::of(&mut tasks, &tally, streams, contender, mock, WARM_UP, length).await?;
    tally.end();
    let mut figures = Figures::new();
    if streams == 1 {
        let Times { mut gaps, mut first, .. } = times_of(tasks.join_next().await.expect("one client"))?;
        gaps.sort_unstable();
        first.sort_unstable();
        figures.insert(Figure::AddedGapP99, percentile(&gaps, 99) / 1e6);
        figures.insert(Figure::AddedFirstEvent, percentile(&first, 50) / 1e3);
    }
    // The others are left in the middle: what is measured is the events, not how streams begin and end.
    tasks.shutdown().await;
    if let Some(spent) = window.spent {
        figures.append(&mut costs(spent, window.answers, window.events, window.sent, workload));
        figures.insert(Figure::Busy, window.busy());
    }
    Ok(figures)
}

fn costs(spent: Duration, answers: u64, events: u64, sent: u64, workload: &Workload) -> Figures {
    let spent = spent.as_secs_f64() * 1e6;
    let (answers, events) = (answers as f64, events as f64);
    Figures::from([
        (Figure::CpuPerRequest, spent / answers),
        (Figure::CpuPerMegabyte, spent / (answers * workload.prompt as f64 / 1e6)),
        (Figure::CpuPerEvent, spent / events),
        (Figure::BytesPerEvent, sent as f64 / events),
    ])
}

/// What an open stream takes of a proxy that has served before, and what the proxy takes before that.
async fn open(streams: usize, contender: &Contender, workload: &Arc<Workload>) -> Result<Figures, String> {
    let Some(base) = contender.resident() else { return Ok(Figures::new()) };
    let tally = Arc::new(Tally::default());
    let mut first = crowd(4, contender, workload, &tally);
    begun(&mut first, &tally, 4).await?;
    first.shutdown().await;
    contender.settle().await;
    let before = contender.resident().unwrap();
    let tally = Arc::new(Tally::default());
    let mut tasks = crowd(streams, contender, workload, &tally);
    begun(&mut tasks, &tally, streams).await?;
    sleep(Duration::from_secs(1)).await;
    let after = contender.resident().unwrap();
    tasks.shutdown().await;
    Ok(Figures::from([
        (Figure::BaseMemory, base as f64),
        (Figure::MemoryPerStream, after.saturating_sub(before) as f64 / streams as f64),
    ]))
}

/// The time in which it is counted.
struct Window {
    elapsed: Duration,
    spent: Option<Duration>,
    answers: u64,
    events: u64,
    sent: u64,
}

impl Window {
    async fn of(
        tasks: &mut Crowd,
        tally: &Tally,
        clients: usize,
        contender: &Contender,
        mock: &Mock,
        warm_up: Duration,
        length: Duration,
    ) -> Result<Self, String> {
        begun(tasks, tally, clients).await?;
        watch(tasks, warm_up).await?;
        let counts = || (tally.answers.load(Relaxed), tally.events.load(Relaxed), mock.sent());
        let (before, counted, began) = (contender.spent(), counts(), Instant::now());
        tally.count();
        watch(tasks, length).await?;
        let (elapsed, now) = (began.elapsed(), counts());
        Ok(Self {
            elapsed,
            spent: before.map(|before: Spent| contender.spent().unwrap().since(&before)),
            answers: now.0 - counted.0,
            events: now.1 - counted.1,
            sent: now.2 - counted.2,
        })
    }

    fn busy(&self) -> f64 {
        self.spent.map_or(0.0, |spent| 100.0 * spent.as_secs_f64() / self.elapsed.as_secs_f64())
    }
}

fn percentile(sorted: &[u64], percent: usize) -> f64 {
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).map_or(f64::NAN, |time| *time as f64)
}
