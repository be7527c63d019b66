//! How many file descriptors the process has, and for what.
//!
//! A client's connection takes one, a call of an upstream another. What the journal, the store, the admin side and the
//! connections that wait for their next use in the pool need is kept back, so that a flood of clients cannot take it.

use std::{
    io,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a system that sets no limit is taken to allow.
const UNLIMITED: u64 = 1 << 20;
/// What the process itself has open: the store, the journal, the runtime, its standard streams, files of a reload.
const OWN: usize = 64;

/// The descriptors of this process, as they are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Division {
    /// All.
    pub(crate) all: usize,
    /// The most connections of operators.
    pub(crate) admin: usize,
    /// The most clients of each listener that are being told that there is no room.
    pub(crate) lingering: usize,
    /// What clients' connections and upstream calls share.
    pub(crate) shared: usize,
    /// The most of these that clients' connections take, so that requests on them can be sent on.
    pub(crate) connections: usize,
}

impl Division {
    fn of(all: usize) -> Self {
        let admin = (all / 16).clamp(8, 256);
        let lingering = (all / 16).clamp(2, 64);
        let pooled = (all / 8).min(512);
        let shared = all.saturating_sub(OWN + admin + 2 * lingering + pooled).max(8);
        Self { all, admin, lingering, shared, connections: shared - shared / 4 }
    }
}

/// How many of the shared ones are taken.
static TAKEN: AtomicUsize = AtomicUsize::new(0);
/// How many of these are clients' connections.
static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);

/// The descriptors of this process. At the first call it takes as many as it may.
pub(crate) fn division() -> &'static Division {
    static DIVISION: OnceLock<Division> = OnceLock::new();
    DIVISION.get_or_init(|| {
        let all = raised();
        Division::of(usize::try_from(all).unwrap_or(usize::MAX))
    })
}

/// Raises the soft limit to the hard one: the soft one is low for the sake of programs that use `select`.
fn raised() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let soft = limit.current.unwrap_or(UNLIMITED);
    let wanted = limit.maximum.unwrap_or(UNLIMITED).min(UNLIMITED);
    if wanted <= soft {
        return soft;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::warn!(%error, soft, wanted, "cannot raise the limit of open files");
            soft
        }
    }
}

/// One of the shared descriptors, until this is dropped.
#[derive(Debug)]
pub(crate) struct Descriptor {
    is_connection: bool,
}

impl Descriptor {
    /// One for a client's connection.
    pub(crate) fn for_connection() -> Option<Self> {
        let division = division();
        let taken = Self::take(true);
        let fits = CONNECTIONS.load(Ordering::Relaxed) <= division.connections
            && TAKEN.load(Ordering::Relaxed) <= division.shared;
        fits.then_some(taken)
    }

    /// One for a call of an upstream.
    pub(crate) fn for_upstream() -> Option<Self> {
        let taken = Self::take(false);
        (TAKEN.load(Ordering::Relaxed) <= division().shared).then_some(taken)
    }

    fn take(is_connection: bool) -> Self {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        if is_connection {
            CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        }
        Self { is_connection }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
        if self.is_connection {
            CONNECTIONS.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Whether the process, or the system, has no descriptor left.
pub(crate) fn are_used_up(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
        .iter()
        .any(|errno| number == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_back_grows_with_the_limit_and_is_never_given_away() {
        for all in [256, 1024, 4096, 20_000, 1 << 20] {
            let division = Division::of(all);
            let kept = OWN + division.admin + 2 * division.lingering;
            assert!(division.shared + kept <= all, "{division:?}");
            assert!(
                division.connections < division.shared && division.connections >= all / 4,
                "{division:?}"
            );
        }
        assert!(Division::of(20_000).connections > 14_000);
    }

    #[test]
    fn a_limit_that_is_too_low_for_anything_still_lets_a_few_in() {
        assert_eq!(Division::of(10).connections, 6);
    }

    #[test]
    fn an_error_of_the_process_is_told_from_one_of_the_connection() {
        assert!(are_used_up(&io::Error::from_raw_os_error(24)));
        assert!(are_used_up(&io::Error::from_raw_os_error(23)));
        assert!(!are_used_up(&io::Error::from_raw_os_error(111)));
    }
}
