//! Says when a processor has nothing better to do.
//!
//! Work that goes behind everything else is not done by a thread of the kind that runs last: on a machine with nothing to
//! spare that thread could stop anywhere for seconds, also where it holds what others wait for. It only nods: whoever works
//! asks it now and then, and works on as everybody does.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How often who waits for a nod looks whether there is no more time for it.
const LOOK: Duration = Duration::from_millis(1);

const RESTS: u8 = 0;
const ASKED: u8 = 1;
const NODDED: u8 = 2;
const ENDS: u8 = 3;

/// A thread that runs when no other of the machine's usual kind could run in its place, and is asked by one other thread.
pub(crate) struct Usher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// No lock: the usher may stop anywhere.
struct Shared {
    word: AtomicU8,
    asks: OnceLock<Thread>,
}

impl Usher {
    pub(crate) fn start() -> io::Result<Self> {
        Self::start_behind(crate::calm::let_all_others_go_first)
    }

    /// The same, with something else in place of what puts it behind all others.
    pub(crate) fn start_behind(go_behind: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared { word: AtomicU8::new(RESTS), asks: OnceLock::new() });
        let its = Arc::clone(&shared);
        let nod_until_the_end = move || {
            go_behind();
            loop {
                match its.word.compare_exchange(ASKED, NODDED, AcqRel, Acquire) {
                    Ok(_) => its.asks.get().into_iter().for_each(Thread::unpark),
                    Err(ENDS) => return,
                    Err(_) => thread::park(),
                }
            }
        };
        let thread = thread::Builder::new().name("usher".into()).spawn(nod_until_the_end)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Whether a processor has had nothing else to do within this time. Gives up before if `hurries` says so. Always asked by
    /// the same thread.
    pub(crate) fn nods_within(&self, most: Duration, hurries: &dyn Fn() -> bool) -> bool {
        let Shared { word, asks } = &*self.shared;
        let begun = Instant::now();
        asks.get_or_init(thread::current);
        word.store(ASKED, Release);
        self.thread.iter().for_each(|usher| usher.thread().unpark());
        while begun.elapsed() < most && !hurries() {
            thread::park_timeout(LOOK);
            if word.compare_exchange(NODDED, RESTS, AcqRel, Acquire).is_ok() {
                return true;
            }
        }
        // What it says now, nobody hears.
        word.store(RESTS, Release);
        false
    }
}

impl Drop for Usher {
    /// Does not wait for it: that could take long.
    fn drop(&mut self) {
        self.shared.word.store(ENDS, Release);
        self.thread.take().iter().for_each(|usher| usher.thread().unpark());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn it_nods_whenever_it_comes_to_it_and_each_nod_is_for_one_question() {
        let usher = Usher::start_behind(|| {}).unwrap();
        for _ in 0..1_000 {
            assert!(usher.nods_within(LONG, &|| false));
        }
        assert_eq!(usher.shared.word.load(Acquire), RESTS);
    }

    #[test]
    fn one_that_gets_no_processor_is_not_waited_for() {
        let (go_on, stands) = mpsc::channel::<()>();
        let usher = Usher::start_behind(move || {
            let _ = stands.recv();
        })
        .unwrap();
        assert!(!usher.nods_within(Duration::from_millis(10), &|| false), "the time is over");
        assert!(!usher.nods_within(LONG, &|| true), "there is none");
        go_on.send(()).unwrap();
        assert!(usher.nods_within(LONG, &|| false));
    }
}
