//! How long a process has been on a processor, with those that it has started.

use std::{collections::BTreeMap, time::Duration};

/// How far the coarser of two clocks may be off.
const TICKS: Duration = Duration::from_millis(40);

/// What a tree of processes has spent so far.
pub(crate) struct Spent {
    /// By the scheduler, in nanoseconds, of each thread that lives.
    threads: BTreeMap<u32, Duration>,
    /// By the accounting in hundredths of a second, of all threads that ever were.
    ticks: Duration,
}

impl Spent {
    pub(crate) fn by(processes: &[u32]) -> Self {
        let folders = processes.iter().map(|process| {
            // So may a process that another has started.
            std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten()
        });
        let threads = folders.flatten().filter_map(|entry| {
            // A thread may end while it is looked at.
            let entry = entry.ok()?;
            let times = std::fs::read_to_string(entry.path().join("schedstat")).ok()?;
            let time = times.split_whitespace().next()?.parse().ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, Duration::from_nanos(time)))
        });
        Self { threads: threads.collect(), ticks: ticks_of_all(processes) }
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

/// What the threads of a process whose names begin so have spent so far, by the scheduler.
pub(crate) fn times_of_threads(process: u32, prefix: &str) -> Vec<Duration> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
    let times = threads.filter_map(|entry| {
        let folder = entry.ok()?.path();
        let name = std::fs::read_to_string(folder.join("comm")).ok()?;
        let times = std::fs::read_to_string(folder.join("schedstat")).ok()?;
        let time = times.split_whitespace().next()?.parse().ok()?;
        name.starts_with(prefix).then_some(Duration::from_nanos(time))
    });
    times.collect()
}

/// User and system time of the process, with its threads and its children that have ended.
pub(crate) fn ticks(process: u32) -> Duration {
    ticks_so_far(process).unwrap_or_else(|error| panic!("process {process} is gone: {error}"))
}

/// What the first has started may be gone; then the first has its time.
fn ticks_of_all(processes: &[u32]) -> Duration {
    let (root, rest) = processes.split_first().expect("the first is the one that was started");
    ticks(*root) + rest.iter().filter_map(|process| ticks_so_far(*process).ok()).sum::<Duration>()
}

fn ticks_so_far(process: u32) -> std::io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11..=14].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// This process and all that it has started, and so on.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let processes: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let process: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
            let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
            Some((process, parent))
        })
        .collect();
    let mut tree = vec![root];
    let mut at = 0;
    while let Some(&parent) = tree.get(at) {
        tree.extend(processes.iter().filter(|(_, of)| *of == parent).map(|(process, _)| process));
        at += 1;
    }
    tree
}
