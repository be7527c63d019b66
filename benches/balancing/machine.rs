//! The machine: what it is, and how busy it was.

use std::{fs, process::Command, thread, time::Duration};

/// How many processors there are for this.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Processor time of these processes so far, all their threads together; where the system does not say, none.
pub(crate) fn spent(processes: &[u32]) -> Duration {
    let ticks = processes.iter().filter_map(|process| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let [user, system] = [fields.get(11)?, fields.get(12)?].map(|ticks| ticks.parse::<u64>());
        Some(user.ok()? + system.ok()?)
    });
    Duration::from_millis(ticks.sum::<u64>() * 10)
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
