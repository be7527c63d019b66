//! What an earlier process has left: every record that was open or waited for the store, exactly once.

use std::{
    collections::HashSet,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize},
    },
};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    area::Disk,
    journal::Journal,
    layout::{CELLS, REGION, Span, State},
    region::Region,
    run::{Scratch, state_of},
};

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Records that wait for the store, those included that are damaged.
    pub records: u64,
    /// Those of them whose requests were running when the process died.
    pub interrupted: u64,
    /// Those of them that cannot be read: they are kept aside.
    pub damaged: u64,
}

/// A record of a request that was running.
struct Running {
    region: Arc<Region>,
    cell: usize,
    span: Span,
    id: Uuid,
}

impl Journal {
    /// Opens the journal on this disk, which may take so many bytes of it, and finds what was left there.
    pub(crate) fn open_on(disk: Box<dyn Disk>, max_size: u64) -> io::Result<(Self, Recovered)> {
        let numbers = disk.list()?;
        let quota = usize::try_from(max_size / REGION as u64).unwrap_or(usize::MAX).clamp(1, 1 << 16);
        let needed = numbers.last().map_or(0, |last| usize::from(*last) + 1);
        let regions: Box<[_]> = (0..quota.max(needed)).map(|_| ArcSwapOption::empty()).collect();
        let mut recovery = Recovery::default();
        for number in numbers {
            let region = Arc::new(Region::new(disk.open(number)?));
            recovery.look_through(&region);
            regions[usize::from(number)].store(Some(region));
        }
        let found = recovery.finish();
        let (current, swept) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let journal = Self {
            disk,
            regions,
            reach: AtomicUsize::new(needed),
            quota,
            current,
            swept,
            keeper: OnceLock::new(),
            looked: Notify::new(),
            at_end: AtomicBool::new(false),
        };
        Ok((journal, found))
    }
}

#[derive(Default)]
struct Recovery {
    found: Recovered,
    running: Vec<Running>,
    scratch: Scratch,
    /// Records that were moved: where they stood before, they may be found again.
    moved: HashSet<Uuid>,
}

impl Recovery {
    fn look_through(&mut self, region: &Arc<Region>) {
        let mut cell = 0;
        while cell < CELLS {
            let span = match state_of(&*region.area, cell) {
                Some(State::Free) => Span::SMALLEST,
                Some(State::Busy(span)) => {
                    // Its request had not reached an upstream, or its record had reached the store.
                    region.touch();
                    region.run(cell, span).clear();
                    span
                }
                Some(State::Taken(span)) => {
                    self.adopt(region, cell, span);
                    span
                }
                None => {
                    self.wait(region, cell, Span::SMALLEST);
                    self.found.damaged += 1;
                    Span::SMALLEST
                }
            };
            cell += span.cells();
        }
    }

    fn adopt(&mut self, region: &Arc<Region>, cell: usize, span: Span) {
        self.wait(region, cell, span);
        match region.run(cell, span).read(&mut self.scratch) {
            Ok((record, mark)) => {
                if mark.moved {
                    self.moved.insert(record.id);
                }
                if !mark.closed {
                    self.found.interrupted += 1;
                    if !mark.moved {
                        self.running.push(Running { region: Arc::clone(region), cell, span, id: record.id });
                    }
                }
            }
            Err(_damaged) => self.found.damaged += 1,
        }
    }

    fn wait(&mut self, region: &Region, cell: usize, span: Span) {
        region.adopt(cell, span);
        region.close(cell);
        self.found.records += 1;
    }

    /// Leaves out what stands elsewhere, too.
    fn finish(mut self) -> Recovered {
        for running in self.running {
            if self.moved.contains(&running.id) {
                running.region.disown(running.cell, running.span);
                self.found.records -= 1;
                self.found.interrupted -= 1;
            }
        }
        self.found
    }
}
