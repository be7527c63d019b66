//! What a vLLM server says of its own load, on its page of metrics.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::Moment;

/// The figures of one page.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reported {
    /// Requests that run, of all clients of this server.
    pub running: u32,
    /// Requests that wait for it.
    pub waiting: u32,
    /// Which part of the KV cache is in use, from 0 to 1.
    pub cache: f32,
}

impl Reported {
    /// Reads vLLM's page of metrics; nothing if it has none of the figures. Several engines are summed up, of their
    /// caches the fullest counts.
    pub fn read(page: &[u8]) -> Option<Self> {
        let mut found = None;
        for line in page.split(|byte| *byte == b'\n') {
            let Some(line) = line.strip_prefix(b"vllm:") else { continue };
            let Some((name, value)) = sample(line) else { continue };
            let reported: &mut Self = match name {
                b"num_requests_running" | b"num_requests_waiting" | b"kv_cache_usage_perc"
                // The same figure, as older versions call it.
                | b"gpu_cache_usage_perc" => found.get_or_insert_default(),
                _ => continue,
            };
            match name {
                b"num_requests_running" => reported.running = reported.running.saturating_add(count(value)),
                b"num_requests_waiting" => reported.waiting = reported.waiting.saturating_add(count(value)),
                _ => reported.cache = reported.cache.max(value.clamp(0.0, 1.0)),
            }
        }
        found
    }
}

/// The name and the value of a line like `name{labels} value`.
fn sample(line: &[u8]) -> Option<(&[u8], f32)> {
    let end = memchr::memchr2(b'{', b' ', line)?;
    let value = line.rsplit(|byte| *byte == b' ').next()?;
    let value: f32 = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    (!value.is_nan()).then_some((&line[..end], value))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` keeps within the bounds")]
fn count(value: f32) -> u32 {
    value as u32
}

/// The latest figures of one server.
#[derive(Debug, Default)]
pub struct Report {
    running: AtomicU32,
    waiting: AtomicU32,
    cache: AtomicU32,
    /// How many requests of our own were there at that time.
    ours: AtomicU32,
    at: AtomicU64,
}

impl Report {
    /// Older figures say nothing of now.
    const FRESH: Duration = Duration::from_secs(5);

    /// Keeps these figures, which were asked for at this moment, when so many requests of our own were there.
    ///
    /// Whoever reads at the same time may see some of the old figures beside new ones, which does no harm.
    pub fn keep(&self, reported: Reported, ours: u32, at: Moment) {
        self.running.store(reported.running, Relaxed);
        self.waiting.store(reported.waiting, Relaxed);
        self.cache.store(reported.cache.to_bits(), Relaxed);
        self.ours.store(ours, Relaxed);
        self.at.store(at.get(), Relaxed);
    }

    /// The latest figures, unless they are too old.
    pub fn latest(&self, now: Moment) -> Option<Reported> {
        let at = Moment::from_raw(self.at.load(Relaxed))?;
        (now.since(at) < Self::FRESH).then(|| Reported {
            running: self.running.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            cache: f32::from_bits(self.cache.load(Relaxed)),
        })
    }

    /// How many requests of our own were there when the latest figures were asked for.
    pub(crate) fn ours(&self) -> u32 {
        self.ours.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_found_and_engines_summed_up() {
        let page = b"# HELP vllm:num_requests_running Number\n\
            vllm:num_requests_running{engine=\"0\",model_name=\"a b\"} 3.0\n\
            vllm:num_requests_running{engine=\"1\",model_name=\"a b\"} 2.0\n\
            vllm:num_requests_waiting{engine=\"0\"} 1.0\n\
            vllm:num_requests_waiting_by_reason{engine=\"0\"} 70.0\n\
            vllm:kv_cache_usage_perc{engine=\"0\"} 0.25\n\
            vllm:kv_cache_usage_perc{engine=\"1\"} 0.5\r\n";
        assert_eq!(Reported::read(page), Some(Reported { running: 5, waiting: 1, cache: 0.5 }));
    }

    #[test]
    fn a_page_of_something_else_says_nothing() {
        for page in
            [&b""[..], b"vllm:", b"vllm:num_requests_running", b"vllm:num_requests_running NaN", b"\xff\n{"]
        {
            assert_eq!(Reported::read(page), None);
        }
    }

    #[test]
    fn figures_beyond_all_bounds_are_kept_within_them() {
        let page =
            b"vllm:num_requests_running 1e30\nvllm:num_requests_waiting -5\nvllm:kv_cache_usage_perc inf\n";
        assert_eq!(Reported::read(page), Some(Reported { running: u32::MAX, waiting: 0, cache: 1.0 }));
    }

    #[test]
    fn old_figures_are_none() {
        let (report, now) = (Report::default(), Moment::now());
        assert_eq!(report.latest(now), None);
        let reported = Reported { running: 1, ..Reported::default() };
        report.keep(reported, 0, now);
        assert_eq!(report.latest(now), Some(reported));
        assert_eq!(report.latest(now + Report::FRESH), None);
    }

    proptest::proptest! {
        #[test]
        fn no_page_makes_it_panic(page in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let _ = Reported::read(&page);
            let _ = Reported::read(&[b"vllm:num_requests_running{".as_slice(), &page].concat());
        }
    }
}
