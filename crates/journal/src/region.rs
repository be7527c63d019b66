//! One region: which of its cells are taken, and which hold records that wait for the store.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{
    area::Area,
    layout::{GROUPS, Span},
    run::Run,
};

/// A region's memory, and two bits for each of its cells.
///
/// Whoever sets a `taken` bit owns the cell, until it hands the cell on by setting its `closed` bit; whoever clears
/// that owns it from then on, and gives it back by clearing `taken`.
pub(crate) struct Region {
    pub(crate) area: Box<dyn Area>,
    taken: Bits,
    closed: Bits,
    /// Nothing was free when somebody last looked.
    full: AtomicBool,
    /// Something was put since the last sync.
    dirty: AtomicBool,
    /// A sync has failed: what is here is shipped, and nothing more is put here.
    failed: AtomicBool,
}

/// A bit for each cell, in lines of memory of their own: eight words each.
#[repr(align(64))]
struct Bits([AtomicU64; GROUPS]);

impl Default for Bits {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; GROUPS])
    }
}

/// With which group of cells the thread of this number begins to look for a free one: three lines of memory behind the
/// one before it, so that the first eight begin in lines of which no other has anything.
pub(crate) fn beginning_of(thread: usize) -> usize {
    3 * 8 * thread % GROUPS
}

impl Region {
    pub(crate) fn new(area: Box<dyn Area>) -> Self {
        Self {
            area,
            taken: Bits::default(),
            closed: Bits::default(),
            full: AtomicBool::new(false),
            dirty: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    pub(crate) fn run(&self, cell: usize, span: Span) -> Run<'_> {
        Run { area: &*self.area, cell, span }
    }

    /// Takes a free run. Threads that begin at different places do not meet.
    pub(crate) fn take(&self, span: Span, begin: usize) -> Option<usize> {
        if self.full.load(Ordering::Relaxed) || self.failed.load(Ordering::Relaxed) {
            return None;
        }
        let found = (0..GROUPS).map(|at| (begin + at) % GROUPS).find_map(|word| self.take_in(word, span));
        if found.is_none() && span == Span::SMALLEST {
            self.full.store(true, Ordering::Relaxed);
        }
        found
    }

    fn take_in(&self, word: usize, span: Span) -> Option<usize> {
        let bits = &self.taken.0[word];
        let mut seen = bits.load(Ordering::Relaxed);
        loop {
            let bit = free_run(seen, span)?;
            let taken = seen | mask(bit, span);
            match bits.compare_exchange_weak(seen, taken, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(word * 64 + bit),
                Err(now) => seen = now,
            }
        }
    }

    /// Notes that something was put here. Behind that: a sync in between is to be followed by another.
    pub(crate) fn touch(&self) {
        if !self.dirty.load(Ordering::Relaxed) {
            self.dirty.store(true, Ordering::Relaxed);
        }
    }

    /// Gives a run back. There is nothing in it any more.
    pub(crate) fn give_back(&self, cell: usize, span: Span) {
        self.taken.0[cell / 64].fetch_and(!mask(cell % 64, span), Ordering::Release);
        if self.full.load(Ordering::Relaxed) {
            self.full.store(false, Ordering::Relaxed);
        }
    }

    /// Hands a run on to the shipper.
    pub(crate) fn close(&self, cell: usize) {
        self.closed.0[cell / 64].fetch_or(1 << (cell % 64), Ordering::Release);
    }

    /// Notes a run that an earlier process has left.
    pub(crate) fn adopt(&self, cell: usize, span: Span) {
        self.taken.0[cell / 64].fetch_or(mask(cell % 64, span), Ordering::Relaxed);
    }

    /// Forgets a run that an earlier process has left, because its record stands elsewhere, too.
    pub(crate) fn disown(&self, cell: usize, span: Span) {
        self.closed.0[cell / 64].fetch_and(!(1 << (cell % 64)), Ordering::Relaxed);
        self.run(cell, span).clear();
        self.touch();
        self.give_back(cell, span);
    }

    /// Takes over the closed runs that begin in this group of 64 cells; their first cells.
    pub(crate) fn sweep(&self, group: usize) -> impl Iterator<Item = usize> {
        let bits = &self.closed.0[group];
        let mut closed = if bits.load(Ordering::Relaxed) == 0 { 0 } else { bits.swap(0, Ordering::Acquire) };
        std::iter::from_fn(move || {
            let bit = (closed != 0).then_some(closed.trailing_zeros() as usize)?;
            closed &= closed - 1;
            Some(group * 64 + bit)
        })
    }

    /// Cells that are free to be taken.
    pub(crate) fn free(&self) -> usize {
        if self.failed.load(Ordering::Relaxed) {
            return 0;
        }
        self.taken.0.iter().map(|bits| bits.load(Ordering::Relaxed).count_zeros() as usize).sum()
    }

    /// Looks again whether anything is free: whoever gave something back may have missed that nothing was.
    pub(crate) fn is_full(&self) -> bool {
        let full = self.free() == 0;
        if !full && self.full.load(Ordering::Relaxed) {
            self.full.store(false, Ordering::Relaxed);
        }
        full
    }

    /// Takes every cell, if every cell is free: nobody can come in any more.
    pub(crate) fn retire(&self) -> bool {
        for (at, bits) in self.taken.0.iter().enumerate() {
            if bits.compare_exchange(0, u64::MAX, Ordering::Acquire, Ordering::Relaxed).is_err() {
                self.taken.0[..at].iter().for_each(|bits| bits.store(0, Ordering::Release));
                self.full.store(false, Ordering::Relaxed);
                return false;
            }
        }
        true
    }

    /// Syncs what was put since the last time. An error is final.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        if self.failed.load(Ordering::Relaxed) || !self.dirty.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        self.area.sync().inspect_err(|_| self.failed.store(true, Ordering::Relaxed))
    }

    /// Whether a sync has failed and nothing is left here. Then it stays so: somebody who looked just before the
    /// failure may be about to take a cell.
    pub(crate) fn is_spent(&self) -> bool {
        self.failed.load(Ordering::Relaxed) && self.retire()
    }
}

/// Where as many bits as the span has are free, in a row and at a multiple of it.
fn free_run(taken: u64, span: Span) -> Option<usize> {
    if span == Span::SMALLEST {
        return (taken != u64::MAX).then(|| taken.trailing_ones() as usize);
    }
    (0..64).step_by(span.cells()).find(|&bit| taken & mask(bit, span) == 0)
}

fn mask(bit: usize, span: Span) -> u64 {
    ((1_u64 << span.cells()) - 1) << bit
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn eight_threads_begin_to_look_in_eight_lines_of_memory() {
        let lines: BTreeSet<usize> = (1..=8).map(|thread| beginning_of(thread) / 8).collect();
        assert_eq!(lines.len(), 8);
        assert_eq!(std::mem::align_of::<Bits>(), 64);
    }
}
