//! Processor time, memory and descriptors of this process, from the operating system.

use std::sync::LazyLock;

use prometheus::{core::Collector, process_collector::ProcessCollector, proto};
use rustix::time::{ClockId, clock_gettime};

static PROCESS: LazyLock<ProcessCollector> = LazyLock::new(ProcessCollector::for_self);

/// The families `process_…`.
pub(super) fn families() -> Vec<proto::MetricFamily> {
    let mut families = PROCESS.collect();
    // The collector counts processor time in whole seconds, of which a gateway uses few between two looks.
    for family in families.iter_mut().filter(|family| family.name() == "process_cpu_seconds_total") {
        let mut counter = proto::Counter::default();
        counter.set_value(processor_time());
        let mut metric = proto::Metric::default();
        metric.set_counter(counter);
        family.set_metric(vec![metric]);
    }
    families
}

/// What all threads have used, in seconds.
#[allow(clippy::cast_precision_loss)]
fn processor_time() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_has_parts_of_a_second() {
        let seconds = || {
            let families = families();
            let family = families.iter().find(|family| family.name() == "process_cpu_seconds_total");
            family.and_then(|family| family.get_metric().first()).map(|metric| metric.get_counter().get_value())
        };
        let before = seconds().unwrap_or_default();
        let mut number = 1_u64;
        while seconds() < Some(before + 0.002) {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        assert!(seconds() < Some(before + 0.9), "it went on by a whole second");
    }
}
