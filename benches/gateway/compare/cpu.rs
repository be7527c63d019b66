//! How long a process has been on a processor.

use std::{collections::BTreeMap, time::Duration};

/// How far the coarser of two clocks may be off.
const TICKS: Duration = Duration::from_millis(40);

/// What a process has spent so far.
pub(crate) struct Spent {
    /// By the scheduler, in nanoseconds, of each thread that lives.
    threads: BTreeMap<u32, Duration>,
    /// By the accounting in hundredths of a second, of all threads that ever were.
    ticks: Duration,
}

impl Spent {
    pub(crate) fn by(process: u32) -> Self {
        let folder = std::fs::read_dir(format!("/proc/{process}/task"));
        let folder = folder.unwrap_or_else(|error| panic!("process {process} is gone: {error}"));
        let threads = folder.filter_map(|entry| {
            // A thread may end while it is looked at.
            let entry = entry.ok()?;
            let times = std::fs::read_to_string(entry.path().join("schedstat")).ok()?;
            let time = times.split_whitespace().next()?.parse().ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, Duration::from_nanos(time)))
        });
        Self { threads: threads.collect(), ticks: ticks(process) }
    }

    /// Exact as long as no thread has ended; else what the coarser clock says.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let ticks = self.ticks.saturating_sub(before.ticks);
        if before.threads.keys().any(|thread| !self.threads.contains_key(thread)) {
            return ticks;
        }
        let sum = |spent: &Self| spent.threads.values().sum::<Duration>();
        let exact = sum(self).saturating_sub(sum(before));
        // A thread that came and went in between, or a kernel that does not keep the finer times.
        if ticks > exact + TICKS { ticks } else { exact }
    }
}

/// User and system time of the process, its ended threads included.
pub(crate) fn ticks(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))
        .unwrap_or_else(|error| panic!("process {process} is gone: {error}"));
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
