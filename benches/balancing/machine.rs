//! The machine: what it is, and how busy it was.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// How many processors there are for this.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Processor time so far; where the system does not say, none.
pub(crate) struct Spent {
    began: Instant,
    /// Of the processes that were named.
    ours: Duration,
    /// Of all that runs on the machine.
    all: Duration,
}

/// Which part of the processors was busy since: with the processes that were named, and with all.
#[derive(Clone, Copy, Default)]
pub(crate) struct Busy {
    pub(crate) ours: f64,
    pub(crate) all: f64,
}

impl Spent {
    pub(crate) fn by(processes: &[u32]) -> Self {
        let of = |process: &u32| {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
            // User and system; the name before may hold anything but its closing parenthesis.
            Some(ticks(stat.rsplit(')').next()?, &[11, 12]))
        };
        let machine = fs::read_to_string("/proc/stat").unwrap_or_default();
        // All but idle and waiting for disks.
        let all = machine.lines().next().map(|line| ticks(line, &[1, 2, 3, 6, 7, 8]));
        Self {
            began: Instant::now(),
            ours: processes.iter().filter_map(of).sum(),
            all: all.unwrap_or_default(),
        }
    }

    pub(crate) fn until_now(&self, processes: &[u32]) -> Busy {
        let now = Self::by(processes);
        let time = (now.began - self.began).as_secs_f64() * processors() as f64;
        let part = |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64() / time;
        Busy { ours: part(now.ours, self.ours), all: part(now.all, self.all) }
    }
}

/// The sum of these fields, which are in hundredths of a second.
fn ticks(line: &str, fields: &[usize]) -> Duration {
    let all: Vec<&str> = line.split_whitespace().collect();
    let sum: u64 = fields.iter().filter_map(|field| all.get(*field)?.parse::<u64>().ok()).sum();
    Duration::from_millis(sum * 10)
}

/// Processor, kernel, and the commit that is measured.
pub(crate) fn described() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let commit = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--exclude=*"])
        .output()
        .ok()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!(
        "{}, {} processors, Linux {}; commit {}{}",
        model.map_or("unknown processor", |(_, model)| model.trim()),
        processors(),
        kernel.trim(),
        commit.filter(|commit| !commit.is_empty()).as_deref().unwrap_or("unknown"),
        if cfg!(debug_assertions) { ", not optimised" } else { "" },
    )
}
