//! What counts: a handful of atomics for each thread that serves clients. Updating one takes no lock, allocates nothing and
//! waits for no other thread.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use prometheus::proto;
use vllm_gateway_stripes::Stripes;

/// A number with a type of Prometheus.
pub(super) trait Instrument {
    const KIND: proto::MetricType;

    /// Its value now, without labels.
    fn read(&self) -> proto::Metric;
}

/// Only ever grows.
#[derive(Default)]
pub(super) struct Counter(Stripes<AtomicU64>);

impl Counter {
    pub(super) fn inc(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, count: u64) {
        self.0.own().fetch_add(count, Relaxed);
    }
}

impl Instrument for Counter {
    const KIND: proto::MetricType = proto::MetricType::COUNTER;

    fn read(&self) -> proto::Metric {
        Count(self.0.iter().map(|count| count.load(Relaxed)).sum()).read()
    }
}

/// Goes up and down, perhaps on two threads: what each has counted may be less than nothing.
#[derive(Default)]
pub(super) struct Gauge(Stripes<AtomicI64>);

impl Gauge {
    pub(super) fn inc(&self) {
        self.0.own().fetch_add(1, Relaxed);
    }

    pub(super) fn dec(&self) {
        self.0.own().fetch_sub(1, Relaxed);
    }
}

impl Instrument for Gauge {
    const KIND: proto::MetricType = proto::MetricType::GAUGE;

    fn read(&self) -> proto::Metric {
        // What is counted here is far below the 2^53 up to which a double is exact.
        #[allow(clippy::cast_precision_loss)]
        Level(self.0.iter().map(|level| level.load(Relaxed)).sum::<i64>() as f64).read()
    }
}

/// A counter's value that somebody else keeps.
pub(super) struct Count(pub(super) u64);

impl Instrument for Count {
    const KIND: proto::MetricType = proto::MetricType::COUNTER;

    fn read(&self) -> proto::Metric {
        let mut counter = proto::Counter::default();
        #[allow(clippy::cast_precision_loss)]
        counter.set_value(self.0 as f64);
        let mut metric = proto::Metric::default();
        metric.set_counter(counter);
        metric
    }
}

/// A gauge's value that somebody else keeps.
pub(super) struct Level(pub(super) f64);

impl Instrument for Level {
    const KIND: proto::MetricType = proto::MetricType::GAUGE;

    fn read(&self) -> proto::Metric {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(self.0);
        let mut metric = proto::Metric::default();
        metric.set_gauge(gauge);
        metric
    }
}

/// How long something took, by the shortest bound that it kept.
pub(super) struct Histogram {
    /// Upper bounds in microseconds, ascending.
    bounds: &'static [u64],
    seen: Stripes<Seen>,
}

/// The most bounds that a histogram may have: with the rest, what a thread has seen is two lines of memory.
const MOST_BOUNDS: usize = 14;

/// What one thread has observed.
#[derive(Default)]
struct Seen {
    /// One for each bound, and behind them one for what kept none.
    buckets: [AtomicU64; MOST_BOUNDS + 1],
    nanoseconds: AtomicU64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [u64]) -> Self {
        debug_assert!(bounds.len() <= MOST_BOUNDS, "there is no room for so many");
        Self { bounds, seen: Stripes::default() }
    }

    /// Whether nothing was ever observed.
    pub(super) fn is_empty(&self) -> bool {
        self.seen.iter().flat_map(|seen| &seen.buckets).all(|bucket| bucket.load(Relaxed) == 0)
    }

    pub(super) fn observe(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let kept = self.bounds.partition_point(|bound| bound.saturating_mul(1_000) < nanoseconds);
        let seen = self.seen.own();
        if let Some(bucket) = seen.buckets.get(kept) {
            bucket.fetch_add(1, Relaxed);
        }
        seen.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }

    /// What all threads have seen of these.
    fn sum(&self, of: impl Fn(&Seen) -> Option<&AtomicU64>) -> u64 {
        self.seen.iter().filter_map(of).map(|count| count.load(Relaxed)).sum()
    }
}

impl Instrument for Histogram {
    const KIND: proto::MetricType = proto::MetricType::HISTOGRAM;

    /// The count is the sum of the buckets as they were read, so the two never contradict each other.
    fn read(&self) -> proto::Metric {
        let mut seen = 0;
        let mut buckets = Vec::with_capacity(self.bounds.len());
        for index in 0..=self.bounds.len() {
            seen += self.sum(|seen| seen.buckets.get(index));
            // The last has no bound: the text encoder writes it by itself, as `+Inf` with the count of all.
            let Some(bound) = self.bounds.get(index) else { continue };
            let mut read = proto::Bucket::default();
            read.set_cumulative_count(seen);
            read.set_upper_bound(Duration::from_micros(*bound).as_secs_f64());
            buckets.push(read);
        }
        let mut histogram = proto::Histogram::default();
        histogram.set_sample_count(seen);
        histogram
            .set_sample_sum(Duration::from_nanos(self.sum(|seen| Some(&seen.nanoseconds))).as_secs_f64());
        histogram.set_bucket(buckets);
        let mut metric = proto::Metric::default();
        metric.set_histogram(histogram);
        metric
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_for_the_shortest_bound_that_it_kept() {
        let histogram = Histogram::new(&[1_000, 5_000]);
        for micros in [1, 1_000, 1_001, 5_000, 5_001, 9_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let read = histogram.read();
        let read = read.get_histogram();
        let buckets: Vec<_> =
            read.get_bucket().iter().map(|b| (b.upper_bound(), b.cumulative_count())).collect();
        assert_eq!(buckets, [(0.001, 2), (0.005, 4)]);
        assert_eq!(read.get_sample_count(), 6);
        assert!((read.get_sample_sum() - 9.012_003).abs() < 1e-9);
    }
}
