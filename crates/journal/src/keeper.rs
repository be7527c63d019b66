//! The threads that do for the journal what takes time: new files before they are needed, syncs, old files' end.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{journal::Journal, layout::CELLS, region::Region};

const TICK: Duration = Duration::from_secs(1);

/// The running threads. They end when this is dropped, after a last sync.
pub(crate) struct Keeper {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Keeper {
    /// Starts them, with room for the first records made.
    ///
    /// Room and syncs are two threads' matter: a sync takes as long as the disk pleases, and room that is not made
    /// meanwhile is requests refused.
    pub(crate) fn start(journal: &Arc<Journal>, sync_every: Option<Duration>) -> io::Result<Self> {
        let mut keeper = Self { stop: Arc::default(), threads: Vec::new() };
        let mut work = Work { journal: Arc::clone(journal), failing: false };
        work.make_room();
        let stop = Arc::clone(&keeper.stop);
        keeper.spawn("journal", move || repeat(&stop, TICK, || work.once()))?;
        if let Some(every) = sync_every {
            let (stop, journal) = (Arc::clone(&keeper.stop), Arc::clone(journal));
            keeper.spawn("journal-sync", move || {
                repeat(&stop, every, || sync(&journal));
                sync(&journal);
            })?;
        }
        if let Some(room) = keeper.threads.first() {
            let _ = journal.keeper.set(room.thread().clone());
        }
        Ok(keeper)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(thread::Builder::new().name(name.into()).spawn(run)?);
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.threads.iter().for_each(|thread| thread.thread().unpark());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Does it once in a while, counted from one beginning to the next, or when woken, until told to stop.
fn repeat(stop: &AtomicBool, every: Duration, mut work: impl FnMut()) {
    while !stop.load(Ordering::Acquire) {
        let begun = Instant::now();
        work();
        thread::park_timeout(every.saturating_sub(begun.elapsed()));
    }
}

struct Work {
    journal: Arc<Journal>,
    /// A new file could not be made: said once, not every second.
    failing: bool,
}

impl Work {
    fn once(&mut self) {
        self.make_room();
        tidy(&self.journal);
    }

    fn make_room(&mut self) {
        let made = make_room(&self.journal);
        self.journal.at_end.store(!matches!(made, Ok(true)), Ordering::Release);
        self.journal.looked.notify_waiters();
        match made {
            Ok(_) if !self.failing => {}
            Ok(_) => {
                tracing::info!("journal files can be made again");
                self.failing = false;
            }
            Err(_) if self.failing => {}
            Err(error) => {
                let message =
                    "cannot make a new journal file: when the others are full, requests are refused";
                tracing::error!(%error, "{message}");
                self.failing = true;
            }
        }
    }
}

/// Keeps as many cells free as one region has, while the quota allows. Whether any are.
pub(crate) fn make_room(journal: &Journal) -> io::Result<bool> {
    loop {
        let (mut count, mut free) = (0, 0);
        for (_, region) in journal.each_region() {
            count += 1;
            free += region.free();
        }
        if free >= CELLS || count >= journal.quota {
            return Ok(free > 0);
        }
        let vacant = journal.regions.iter().position(|region| region.load().is_none());
        let number = vacant.and_then(|number| u16::try_from(number).ok());
        let number = number.ok_or_else(|| io::Error::other("every number is taken"))?;
        let area = journal.disk.create(number)?;
        journal.add_region(usize::from(number), Region::new(area));
    }
}

pub(crate) fn sync(journal: &Journal) {
    for (number, region) in journal.each_region() {
        if let Err(error) = region.sync() {
            let message =
                "a journal file could not be synced: what is in it is shipped, nothing more is written to it";
            tracing::error!(%error, number, "{message}");
        }
    }
}

/// Lets regions rest, removes what is no longer needed, and turns to the lowest region with room.
pub(crate) fn tidy(journal: &Journal) {
    let current = journal.current.load(Ordering::Relaxed);
    let mut lowest = None;
    let mut empty = Vec::new();
    for (number, region) in journal.each_region() {
        let free = region.free();
        if region.is_spent() {
            remove(journal, number);
            continue;
        }
        // One that is nearly full rests as well: a cell that was given back in each would else keep all of them in
        // memory. Whoever still writes there pays one page fault a second.
        if region.is_full() || number != current {
            region.area.rest();
        }
        if free == CELLS {
            empty.push(number);
        }
        if free >= CELLS / 4 {
            lowest = lowest.or(Some(number));
        }
    }
    if let Some(lowest) = lowest {
        journal.current.store(lowest, Ordering::Relaxed);
    }
    // Two are kept: one to write to, and one for the next burst.
    for number in empty.into_iter().skip(2).rev() {
        if journal.regions[number].load_full().is_some_and(|region| region.retire()) {
            remove(journal, number);
        }
    }
}

fn remove(journal: &Journal, number: usize) {
    journal.regions[number].store(None);
    let Ok(file) = u16::try_from(number) else { return };
    if let Err(error) = journal.disk.remove(file) {
        tracing::warn!(%error, number, "cannot remove an empty journal file");
    }
}
