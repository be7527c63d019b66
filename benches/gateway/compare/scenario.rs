//! What is measured, and what it may cost.

use std::{sync::Arc, time::Duration};

use super::{mock::Pace, recording::Workload};

/// What the clients do.
#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// So many ask for whole answers, with a prompt of so many bytes.
    Unary { clients: usize, prompt: usize },
    /// So many follow streams, with so much time between two events; without, as fast as possible.
    Streams { streams: usize, pace: Option<Duration> },
    /// So many streams are open, ten tokens a second each: memory.
    Open { streams: usize },
}

/// A load under the name by which it is chosen.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// As the table has it.
    pub(crate) title: &'static str,
    pub(crate) load: Load,
    /// Tokens of each answer. By this number, and by whether it is a stream, the mock tells the scenarios apart.
    pub(crate) tokens: u32,
    /// What the table tells of it.
    pub(crate) figures: &'static [Figure],
}

const PACE: Option<Duration> = Some(Duration::from_millis(20));
const FULL_SPEED: Option<Duration> = None;
const LATENCY: &[Figure] = &[Figure::CpuPerRequest, Figure::AddedP50, Figure::AddedP99];
const THROUGHPUT: &[Figure] = &[Figure::CpuPerRequest, Figure::RequestsPerSecond];
const EVENTS: &[Figure] = &[Figure::CpuPerEvent, Figure::BytesPerEvent];

/// Those of the main table, in its order.
pub(crate) const SCENARIOS: &[Scenario] = &[
    unary("unary-1", "1 KB, c = 1", 1, 900, 4, LATENCY),
    unary("unary-16", "1 KB, c = 16", 16, 900, 5, LATENCY),
    unary("unary-64", "1 KB, c = 64", 64, 900, 6, THROUGHPUT),
    unary("unary-256", "1 KB, c = 256", 256, 900, 7, THROUGHPUT),
    streams("sse-400", "400 streams at 20 ms", 400, PACE, 1_000, EVENTS),
    streams("sse-64", "64 streams at full speed", 64, FULL_SPEED, 500, EVENTS),
    streams("sse-1000", "1,000 streams at full speed", 1_000, FULL_SPEED, 200, EVENTS),
    streams("gap", "a lone stream at 20 ms", 1, PACE, 50, &[Figure::AddedGapP99]),
    streams("first", "a lone stream of four tokens", 1, FULL_SPEED, 4, &[Figure::AddedFirstEvent]),
    Scenario {
        name: "memory",
        title: "400 open streams",
        load: Load::Open { streams: 400 },
        tokens: 600,
        figures: &[Figure::MemoryPerStream, Figure::BaseMemory],
    },
    unary("prompt-100k", "prompts of 100 KB, c = 4", 4, 100_000, 8, &[Figure::CpuPerMegabyte]),
    unary("prompt-1m", "prompts of 1 MB, c = 4", 4, 1_000_000, 9, &[Figure::CpuPerMegabyte]),
];

/// For those that cannot do as much, beside the same of the others.
pub(crate) const FEWER: &[Scenario] = &[
    streams("sse-40", "40 streams at 20 ms", 40, PACE, 900, EVENTS),
    Scenario {
        name: "memory-40",
        title: "40 open streams",
        load: Load::Open { streams: 40 },
        tokens: 601,
        figures: &[Figure::MemoryPerStream, Figure::BaseMemory],
    },
];

/// A short stream.
pub(crate) fn short_stream() -> Workload {
    Workload::new(10, true, 900, Pace::Free)
}

/// Those of the main table, and then the others.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    SCENARIOS.iter().chain(FEWER)
}

const fn unary(
    name: &'static str,
    title: &'static str,
    clients: usize,
    prompt: usize,
    tokens: u32,
    figures: &'static [Figure],
) -> Scenario {
    Scenario { name, title, load: Load::Unary { clients, prompt }, tokens, figures }
}

const fn streams(
    name: &'static str,
    title: &'static str,
    streams: usize,
    pace: Option<Duration>,
    tokens: u32,
    figures: &'static [Figure],
) -> Scenario {
    Scenario { name, title, load: Load::Streams { streams, pace }, tokens, figures }
}

impl Scenario {
    /// Whether it tells what is added to the direct way, so that this has to be measured as well.
    pub(crate) fn needs_direct(&self) -> bool {
        self.figures.iter().any(|figure| figure.is_added())
    }

    /// What a peer is asked for before it is measured: the same, or a short stream in place of a long one.
    pub(crate) fn first_workload(
        &self,
        own: &Arc<Workload>,
        stream: &Arc<Workload>,
    ) -> Option<Arc<Workload>> {
        match self.load {
            Load::Unary { .. } => Some(Arc::clone(own)),
            Load::Streams { .. } => Some(Arc::clone(stream)),
            // Memory is first that of one that nobody has asked.
            Load::Open { .. } => None,
        }
    }

    /// What its clients ask for.
    pub(crate) fn workload(&self) -> Workload {
        match self.load {
            Load::Unary { prompt, .. } => Workload::new(self.tokens, false, prompt, Pace::Free),
            Load::Streams { pace, .. } => {
                Workload::new(self.tokens, true, 900, pace.map_or(Pace::Free, Pace::Every))
            }
            Load::Open { .. } => {
                Workload::new(self.tokens, true, 900, Pace::Every(Duration::from_millis(100)))
            }
        }
    }
}

/// One figure of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    CpuPerRequest,
    RequestsPerSecond,
    AddedP50,
    AddedP99,
    CpuPerEvent,
    /// Bytes that the mock sent for an event.
    BytesPerEvent,
    AddedGapP99,
    AddedFirstEvent,
    CpuPerMegabyte,
    BaseMemory,
    MemoryPerStream,
    /// Share of its core that it used meanwhile.
    Busy,
}

impl Figure {
    /// As the table names it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::CpuPerRequest => "CPU per request, µs",
            Self::RequestsPerSecond => "requests per second",
            Self::AddedP50 => "added p50, µs",
            Self::AddedP99 => "added p99, µs",
            Self::CpuPerEvent => "CPU per event, µs",
            Self::BytesPerEvent => "bytes from upstream per event",
            Self::AddedGapP99 => "added gap p99, ms",
            Self::AddedFirstEvent => "added time to first event, µs",
            Self::CpuPerMegabyte => "CPU per MB, µs",
            Self::BaseMemory => "memory after start, KiB",
            Self::MemoryPerStream => "memory per stream, KiB",
            Self::Busy => "share of its core used, %",
        }
    }

    /// Whether it is the difference to no proxy at all.
    pub(crate) const fn is_added(self) -> bool {
        matches!(self, Self::AddedP50 | Self::AddedP99 | Self::AddedGapP99 | Self::AddedFirstEvent)
    }

    /// Whether the ratio to nginx says something.
    pub(crate) const fn has_ratio(self) -> bool {
        !matches!(self, Self::Busy | Self::AddedGapP99)
    }

    /// What the gateway has to reach, and what it aims at.
    pub(crate) const fn bounds(self) -> Option<Bounds> {
        Some(match self {
            Self::CpuPerRequest | Self::AddedP50 | Self::AddedP99 => Bounds::Ratio { must: 1.5, aim: 1.0 },
            Self::RequestsPerSecond => Bounds::AtLeast { must: 0.67, aim: 1.0 },
            Self::CpuPerEvent => Bounds::Ratio { must: 1.2, aim: 0.9 },
            Self::AddedGapP99 => Bounds::Value { must: 10.0, aim: 1.0 },
            Self::AddedFirstEvent => Bounds::ValueThenNginx { must: 400.0 },
            Self::CpuPerMegabyte => Bounds::Ratio { must: 1.3, aim: 0.6 },
            Self::BaseMemory => Bounds::Value { must: 30.0 * 1024.0, aim: 12.0 * 1024.0 },
            Self::MemoryPerStream => Bounds::Value { must: 42.0, aim: 17.0 },
            Self::BytesPerEvent | Self::Busy => return None,
        })
    }
}

/// What a figure is held against.
#[derive(Clone, Copy)]
pub(crate) enum Bounds {
    /// At most so many times what nginx has.
    Ratio { must: f64, aim: f64 },
    /// At least so many times what nginx has.
    AtLeast { must: f64, aim: f64 },
    /// At most this.
    Value { must: f64, aim: f64 },
    /// At most this; the aim is what nginx has.
    ValueThenNginx { must: f64 },
}

impl Bounds {
    /// Whether value and ratio to nginx keep what must be kept, and what is aimed at.
    pub(crate) fn judge(self, value: f64, ratio: f64) -> (bool, bool) {
        match self {
            Self::Ratio { must, aim } => (ratio <= must, ratio <= aim),
            Self::AtLeast { must, aim } => (ratio >= must, ratio >= aim),
            Self::Value { must, aim } => (value <= must, value <= aim),
            Self::ValueThenNginx { must } => (value <= must, ratio <= 1.0),
        }
    }

    /// As the table has it.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Ratio { must, aim } => format!("≤ {must} × / ≤ {aim} ×"),
            Self::AtLeast { must, aim } => format!("≥ {must} × / ≥ {aim} ×"),
            Self::Value { must, aim } => format!("≤ {must} / ≤ {aim}"),
            Self::ValueThenNginx { must } => format!("≤ {must} / ≤ 1 ×"),
        }
    }
}
