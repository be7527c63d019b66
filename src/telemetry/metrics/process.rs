//! Processor time, memory and descriptors of this process, from the operating system.

use std::sync::LazyLock;

use prometheus::{core::Collector, process_collector::ProcessCollector, proto};

static PROCESS: LazyLock<ProcessCollector> = LazyLock::new(ProcessCollector::for_self);

/// The families `process_…`.
pub(super) fn families() -> Vec<proto::MetricFamily> {
    let mut families = PROCESS.collect();
    // The collector counts processor time in whole seconds, of which a gateway uses few between two looks.
    for family in families.iter_mut().filter(|family| family.name() == "process_cpu_seconds_total") {
        let Some(seconds) = processor_time() else { continue };
        let mut counter = proto::Counter::default();
        counter.set_value(seconds);
        let mut metric = proto::Metric::default();
        metric.set_counter(counter);
        family.set_metric(vec![metric]);
    }
    families
}

/// The unit in which Linux tells it, of a second: the same on all architectures of today.
const TICKS: f64 = 100.0;

/// What all threads have used, in seconds: fields 14 and 15 of proc_pid_stat(5). The system's clock would tell it better,
/// but what asks it without libc cannot be run under valgrind.
fn processor_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut used = fields.split(' ').skip(11).map(str::parse::<f64>);
    let (in_program, in_system) = (used.next()?.ok()?, used.next()?.ok()?);
    Some((in_program + in_system) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_has_parts_of_a_second() {
        let seconds = || {
            let families = families();
            let family = families.iter().find(|family| family.name() == "process_cpu_seconds_total");
            family
                .and_then(|family| family.get_metric().first())
                .map(|metric| metric.get_counter().get_value())
        };
        let before = seconds().unwrap_or_default();
        let mut number = 1_u64;
        while seconds() < Some(before + 0.002) {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        assert!(seconds() < Some(before + 0.9), "it went on by a whole second");
    }
}
