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
/// Files are removed when for so long none had to be made: making one is dear, and where one burst came, the next is not far.
const LULL: Duration = Duration::from_secs(60);

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
        let mut work = Work { journal: Arc::clone(journal), failed: None, made: None, tidied: None };
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
    /// When a new file could not be made: said once, and not tried again at once, which would take what is left of a disk.
    failed: Option<Instant>,
    /// When a file was last made.
    made: Option<Instant>,
    /// When it was last tidied.
    tidied: Option<Instant>,
}

impl Work {
    fn once(&mut self) {
        self.make_room();
        self.tidy();
    }

    /// Once in a while, not whenever room is made: in a burst, that is many times a second.
    fn tidy(&mut self) {
        if self.tidied.is_some_and(|last| last.elapsed() < TICK / 2) {
            return;
        }
        self.tidied = Some(Instant::now());
        tidy(&self.journal);
        if self.made.is_none_or(|last| last.elapsed() >= LULL) {
            shrink(&self.journal);
        }
    }

    fn make_room(&mut self) {
        let may_make = self.failed.is_none_or(|last| last.elapsed() >= TICK / 2);
        let made = make_room_if(&self.journal, may_make);
        if let Ok(Room { made: true, .. }) = made {
            self.made = Some(Instant::now());
        }
        self.journal.at_end.store(!matches!(made, Ok(Room { is_free: true, .. })), Ordering::Release);
        self.journal.looked.notify_waiters();
        match made {
            Ok(_) if self.failed.is_none() || !may_make => {}
            Ok(_) => {
                tracing::info!("journal files can be made again");
                self.failed = None;
            }
            Err(_) if self.failed.is_some() => self.fail(),
            Err(error) => {
                let message =
                    "cannot make a new journal file: when the others are full, requests are refused";
                tracing::error!(%error, "{message}");
                self.fail();
            }
        }
    }

    /// Space is short, and spare files are not kept for the next burst.
    fn fail(&mut self) {
        self.failed = Some(Instant::now());
        self.made = None;
    }
}

fn free_cells(journal: &Journal) -> usize {
    journal.each_region().map(|(_, region)| region.free()).sum()
}

/// What came of making room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Some cells can be taken.
    is_free: bool,
    /// A file was made for them.
    made: bool,
}

/// The same at once.
#[cfg(test)]
pub(crate) fn make_room(journal: &Journal) -> io::Result<Room> {
    make_room_if(journal, true)
}

/// Keeps as many cells free as one region has, while the quota allows, and a file may be made now.
fn make_room_if(journal: &Journal, may_make: bool) -> io::Result<Room> {
    let mut made = false;
    loop {
        let (mut count, mut free) = (0, 0);
        for (_, region) in journal.each_region() {
            count += 1;
            free += region.free();
        }
        if free >= CELLS || count >= journal.quota || !may_make {
            return Ok(Room { is_free: free > 0, made });
        }
        let vacant = journal.regions.iter().position(|region| region.load().is_none());
        let number = vacant.and_then(|number| u16::try_from(number).ok());
        let number = number.ok_or_else(|| io::Error::other("every number is taken"))?;
        // Made at leisure while half of what is kept free is left; without the first, somebody waits already.
        let in_a_hurry = || free_cells(journal) < CELLS / 2;
        let area = journal.disk.create(number, &in_a_hurry)?;
        journal.add_region(usize::from(number), Region::new(area));
        made = true;
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

/// Lets regions rest, removes those that have failed, and turns to the lowest region with room.
pub(crate) fn tidy(journal: &Journal) {
    let current = journal.current.load(Ordering::Relaxed);
    let mut lowest = None;
    for (number, region) in journal.each_region() {
        if region.is_spent() {
            remove(journal, number);
            continue;
        }
        // One that is nearly full rests as well: a cell that was given back in each would else keep all of them in
        // memory. Whoever still writes there pays one page fault a second.
        if region.is_full() || number != current {
            region.area.rest();
        }
        if region.free() >= CELLS / 4 {
            lowest = lowest.or(Some(number));
        }
    }
    if let Some(lowest) = lowest {
        journal.current.store(lowest, Ordering::Relaxed);
    }
}

/// Removes what is no longer needed.
pub(crate) fn shrink(journal: &Journal) {
    let regions = journal.each_region();
    let empty: Vec<_> =
        regions.filter(|(_, region)| region.free() == CELLS).map(|(number, _)| number).collect();
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::place::Place;
    use crate::tests::{MemoryDisk, open};

    fn work(journal: &Arc<Journal>) -> Work {
        Work { journal: Arc::clone(journal), failed: None, made: None, tidied: None }
    }

    /// As many places as are wanted, or as there are.
    fn burst(work: &mut Work, most: usize) -> Vec<Place> {
        let place = || {
            work.make_room();
            work.journal.admit()
        };
        std::iter::from_fn(place).take(most).collect()
    }

    #[test]
    fn what_a_burst_has_needed_is_kept_for_the_next_until_there_is_a_lull() {
        let disk = MemoryDisk::new();
        let journal = Arc::new(open(&disk, 8));
        let mut work = work(&journal);
        let places = burst(&mut work, 3 * CELLS);
        places.into_iter().for_each(|place| journal.release(place));
        work.tidy();
        assert_eq!(journal.each_region().count(), 4, "they are empty, and kept");
        work.tidied = None;
        work.made = Instant::now().checked_sub(LULL);
        work.tidy();
        assert_eq!(journal.each_region().count(), 2);
    }

    #[test]
    fn on_a_full_disk_no_file_is_tried_again_at_once_and_spare_ones_give_their_space_back() {
        let disk = MemoryDisk::new();
        let journal = Arc::new(open(&disk, 8));
        let mut work = work(&journal);
        let places = burst(&mut work, 3 * CELLS);
        disk.refuses_files.store(true, Ordering::SeqCst);
        let more = burst(&mut work, usize::MAX);
        assert!(work.failed.is_some(), "the fifth file was refused");

        disk.refuses_files.store(false, Ordering::SeqCst);
        work.make_room();
        assert!(journal.admit().is_none(), "it is not tried again yet");
        places.into_iter().chain(more).for_each(|place| journal.release(place));
        work.tidied = None;
        work.tidy();
        assert_eq!(journal.each_region().count(), 2, "what is empty goes, though a file was made just now");

        let places: Vec<_> = std::iter::from_fn(|| journal.admit()).collect();
        work.failed = Instant::now().checked_sub(TICK);
        work.make_room();
        assert!(journal.admit().is_some(), "there is room on the disk again");
        places.into_iter().for_each(|place| journal.release(place));
    }
}
