//! The machine: what it is, and who runs where on it.

use std::{
    collections::BTreeSet,
    process::{Command, id},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Which cores are used.
pub(crate) struct Cores {
    /// The proxy's alone.
    pub(crate) proxy: usize,
    /// Those of client and mock.
    pub(crate) others: Vec<usize>,
}

impl Cores {
    /// Sets one core aside, the last unless another is wanted, and takes this process to the others.
    pub(crate) fn divide(wanted: Option<usize>) -> Self {
        let allowed = allowed();
        let proxy = wanted.unwrap_or_else(|| *allowed.last().unwrap());
        assert!(
            allowed.contains(&proxy),
            "there is no core {proxy} for this process: it may use {allowed:?}"
        );
        let others: Vec<usize> = allowed.into_iter().filter(|core| *core != proxy).collect();
        assert!(!others.is_empty(), "this needs two cores: one for the proxy, one for client and mock");
        run_on(id(), &others);
        Self { proxy, others }
    }

    /// The command under which the proxy runs there.
    pub(crate) fn under(&self) -> Vec<String> {
        Self::command(&[self.proxy])
    }

    /// The command under which something runs on these.
    pub(crate) fn command(cores: &[usize]) -> Vec<String> {
        vec!["taskset".to_owned(), "--cpu-list".to_owned(), list(cores)]
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<usize> {
        self.others.iter().copied().chain([self.proxy]).collect()
    }
}

/// Takes a process with all its threads to these cores.
pub(crate) fn run_on(process: u32, cores: &[usize]) {
    let moved = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", &list(cores), &process.to_string()])
        .output()
        .unwrap_or_else(|error| panic!("`taskset` cannot be run ({error}): install the package util-linux"));
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
}

fn list(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// The cores that this process may use.
fn allowed() -> BTreeSet<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let ranges = list.split(',').flat_map(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        from.parse::<usize>().unwrap()..=to.parse().unwrap()
    });
    ranges.collect()
}

/// Takes as many open files as this process may have: clients and mock hold a socket each.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

/// Processor, kernel, what else runs, and the commit that is measured.
pub(crate) fn describe(cores: &Cores) -> String {
    let first = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let info = first("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let kernel = first("/proc/sys/kernel/osrelease");
    let load = first("/proc/loadavg");
    let commit = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--exclude=*"])
        .output();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!(
        "{}, Linux {}; the proxy on core {} alone, client and mock on {:?}; load of the machine before {}; commit {}",
        model.map_or("unknown processor", |(_, model)| model.trim()),
        kernel.trim(),
        cores.proxy,
        cores.others,
        load.split(' ').next().unwrap_or_default(),
        commit.ok().filter(|commit| !commit.is_empty()).as_deref().unwrap_or("unknown"),
    )
}
