//! The journal: room for records before they are needed, their way into it, and out of it to the store.

use std::{
    cell::RefCell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::Thread,
};

use arc_swap::{ArcSwapOption, Guard};
use tokio::sync::{Notify, futures::Notified};
use vllm_gateway_record::{Progress, Record, RecordView};

use crate::{
    area::{Disk, read},
    codec::{self, Mark},
    layout::{CELL, CELL_WORDS, GROUPS, REGION, Span, State},
    place::Place,
    region::{self, Region},
    run::{Scratch, Written, state_of},
};

/// Records between their request and the store, where a kill of the process does not reach them.
///
/// Writing is a copy into mapped memory: no system call, no lock, no wait for a disk. The number of records is
/// bounded by the space on the disk; in memory there are two bits for each.
pub(crate) struct Journal {
    pub(crate) disk: Box<dyn Disk>,
    /// By number. The quota is how many there may be.
    pub(crate) regions: Box<[ArcSwapOption<Region>]>,
    /// Beyond this number there has never been a region: a quota of many is not looked through for one.
    pub(crate) reach: AtomicUsize,
    /// How many regions the quota allows. More may be left from a run that was allowed more.
    pub(crate) quota: usize,
    /// Where cells were free last.
    pub(crate) current: AtomicUsize,
    /// The group of cells where the last sweep stopped, counted through all regions.
    pub(crate) swept: AtomicUsize,
    /// Who makes new regions; woken when the current one is full.
    pub(crate) keeper: OnceLock<Thread>,
    /// Told whenever the keeper has looked after room.
    pub(crate) looked: Notify,
    /// The keeper can make no more: the quota is used up, or the disk refuses.
    pub(crate) at_end: AtomicBool,
}

/// A closed record that was taken out.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) struct Waiting {
    pub(crate) place: Place,
    pub(crate) found: Result<Record, Damaged>,
}

/// What was found where a record should be.
pub(crate) struct Damaged {
    pub(crate) reason: &'static str,
    pub(crate) bytes: Vec<u8>,
}

thread_local! {
    /// Where tails are put together: one for each chunk, so none may cost an allocation.
    static TAIL: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Journal {
    /// Room for one record; none when the quota is used up, or the disk has no more.
    pub(crate) fn admit(&self) -> Option<Place> {
        self.take(Span::SMALLEST)
    }

    /// Ends when the keeper has looked after room once more; none if it can make no more.
    pub(crate) fn more_room(&self) -> Option<Notified<'_>> {
        let looked = self.looked.notified();
        (!self.at_end.load(Ordering::Acquire)).then_some(looked)
    }

    /// An upstream is about to be called: from here on the record is there. Whether it was not before.
    pub(crate) fn open(&self, place: &mut Place, record: &RecordView<'_>) -> bool {
        let first = !place.is_open();
        *place = self.put(*place, record, Mark { closed: false, moved: !first });
        first
    }

    /// How far an open record has come.
    pub(crate) fn checkpoint(&self, place: &mut Place, progress: &Progress<'_>) {
        if place.is_open() {
            self.put_tail(place, progress, false);
        }
    }

    /// The end of an open record.
    pub(crate) fn close(&self, mut place: Place, progress: &Progress<'_>) {
        self.put_tail(&mut place, progress, true);
        self.hand_on(place);
    }

    /// A record that begins and ends at once.
    pub(crate) fn write(&self, place: Place, record: &RecordView<'_>) {
        let place = self.put(place, record, Mark { closed: true, moved: false });
        self.hand_on(place);
    }

    /// Gives room back. What was in it is gone.
    pub(crate) fn release(&self, place: Place) {
        let region = self.region(place);
        let Some(region) = region.as_deref() else { return };
        if place.is_open() {
            region.run(place.cell(), place.span()).clear();
            region.touch();
        }
        region.give_back(place.cell(), place.span());
    }

    /// Takes out closed records, so many or a few more, and shows each with its place. It goes on where it stopped, so
    /// that what is closed all the time in front does not keep waiting what is behind. How many records that were.
    pub(crate) fn take_out(
        &self,
        most: usize,
        mut show: impl FnMut(Place, Result<&Record<&str>, Damaged>),
    ) -> usize {
        let mut scratch = Scratch::default();
        let mut taken = 0;
        let begin = self.swept.load(Ordering::Relaxed);
        let all = self.reach.load(Ordering::Acquire) * GROUPS;
        if all == 0 {
            return 0;
        }
        let mut at = 0;
        while at < all && taken < most {
            let (number, group) = ((begin + at) % all / GROUPS, (begin + at) % GROUPS);
            if let Some(region) = self.regions[number].load().as_deref() {
                let groups = (GROUPS - group).min(all - at);
                for group in group..group + groups {
                    if taken >= most {
                        break;
                    }
                    for cell in region.sweep(group) {
                        show_cell(region, number, cell, &mut scratch, &mut show);
                        taken += 1;
                    }
                    at += 1;
                }
            } else {
                at += GROUPS - group;
            }
        }
        self.swept.store((begin + at) % all, Ordering::Relaxed);
        taken
    }

    /// The same, with each record for itself in memory.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn sweep(&self, most: usize) -> Vec<Waiting> {
        let mut waiting = Vec::new();
        self.take_out(most, |place, found| waiting.push(Waiting { place, found: found.map(Record::from) }));
        waiting
    }

    /// What was taken out is safe elsewhere.
    pub(crate) fn settle(&self, place: Place) {
        self.release(place.opened());
    }

    /// What was taken out waits again.
    pub(crate) fn put_back(&self, place: Place) {
        self.hand_on(place);
    }

    /// The regions that there are, with their numbers.
    pub(crate) fn each_region(&self) -> impl Iterator<Item = (usize, Arc<Region>)> {
        let reach = self.reach.load(Ordering::Acquire);
        let regions = self.regions.iter().take(reach).enumerate();
        regions.filter_map(|(number, region)| Some((number, region.load_full()?)))
    }

    /// Puts a region in its place.
    pub(crate) fn add_region(&self, number: usize, region: Region) {
        self.regions[number].store(Some(Arc::new(region)));
        self.reach.fetch_max(number + 1, Ordering::Release);
    }

    /// The most records that there is room for, if none is large.
    pub(crate) fn most(&self) -> u64 {
        self.quota as u64 * crate::layout::CELLS as u64
    }

    /// Bytes on the disk, and the most there may be.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.each_region().count() as u64 * REGION as u64, self.quota as u64 * REGION as u64)
    }

    fn take(&self, span: Span) -> Option<Place> {
        let begin = region::beginning_of(vllm_gateway_stripes::number());
        let first = self.current.load(Ordering::Relaxed);
        let count = self.regions.len();
        for number in (first..count).chain(0..first.min(count)) {
            let region = self.regions[number].load();
            let Some(region) = region.as_deref() else { continue };
            let Some(cell) = region.take(span, begin) else { continue };
            if number != first && span == Span::SMALLEST {
                self.current.store(number, Ordering::Relaxed);
                self.wake_keeper();
            }
            return Some(Place::new(number, cell, span));
        }
        self.wake_keeper();
        None
    }

    /// Writes a record: where it is, if it can be written there, else elsewhere.
    fn put(&self, place: Place, record: &RecordView<'_>, mark: Mark) -> Place {
        let mut written = Written::new(record, mark);
        let fits = written.span().is_some_and(|span| span <= place.span());
        let mut target = place;
        if place.is_open() || !fits {
            match written.span().and_then(|span| self.take(span)) {
                Some(elsewhere) => target = elsewhere,
                // The head that stands there already is better than none.
                None if place.is_open() => return place,
                None => written = Written::short(record, mark),
            }
        }
        let region = self.region(target);
        let Some(region) = region.as_deref() else { return place };
        region.run(target.cell(), target.span()).write(&written.head, &written.tail);
        region.touch();
        if target.bits() != place.bits() {
            self.release(place);
        }
        if mark.moved { target.opened().moved() } else { target.opened() }
    }

    fn put_tail(&self, place: &mut Place, progress: &Progress<'_>, closed: bool) {
        let region = self.region(*place);
        let Some(region) = region.as_deref() else { return };
        let mark = Mark { closed, moved: place.has_moved() };
        let run = region.run(place.cell(), place.span());
        *place = place.next_turn();
        TAIL.with_borrow_mut(|tail| {
            tail.clear();
            codec::write_tail(progress, mark, usize::MAX, tail);
            if tail.len() > place.span().tail_room() {
                tail.clear();
                codec::write_tail(progress, mark, codec::SHORT, tail);
            }
            run.write_tail(place.turn(), run.head_crc(), tail);
        });
        region.touch();
    }

    fn hand_on(&self, place: Place) {
        if let Some(region) = self.region(place).as_deref() {
            region.close(place.cell());
        }
    }

    /// The region of a place. It is there as long as anything in it is taken.
    fn region(&self, place: Place) -> Guard<Option<Arc<Region>>> {
        match self.regions.get(place.region()) {
            Some(region) => region.load(),
            None => Guard::from_inner(None),
        }
    }

    fn wake_keeper(&self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.unpark();
        }
    }
}

fn show_cell(
    region: &Region,
    number: usize,
    cell: usize,
    scratch: &mut Scratch,
    show: &mut impl FnMut(Place, Result<&Record<&str>, Damaged>),
) {
    let state = state_of(&*region.area, cell);
    let span = match state {
        Some(State::Taken(span)) => span,
        _ => Span::SMALLEST,
    };
    let found = match (state, region.run(cell, span).read(scratch)) {
        (Some(State::Taken(_)), found) => found,
        _ => Err("nothing says what stands here"),
    };
    let place = Place::new(number, cell, span);
    match found {
        Ok((record, _)) => show(place, Ok(&record)),
        Err(reason) => {
            let bytes = read(&*region.area, cell * CELL_WORDS, span.cells() * CELL);
            show(place, Err(Damaged { reason, bytes }));
        }
    }
}
