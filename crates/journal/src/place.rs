//! Where a record is, in one number, so that whoever holds it needs no memory for it.

use crate::layout::Span;

/// A run of cells, how often its tail was written, and whether there is anything in it.
///
/// Bits: 16 region · 16 cell · 16 turn · 8 span · 8 flags.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(u64);

const OPEN: u64 = 1;
const MOVED: u64 = 2;

impl Place {
    pub(crate) fn new(region: usize, cell: usize, span: Span) -> Self {
        let (region, cell) = (region as u64 & 0xFFFF, cell as u64 & 0xFFFF);
        Self(region << 48 | cell << 32 | u64::from(span.log()) << 8)
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn region(self) -> usize {
        (self.0 >> 48) as usize
    }

    pub(crate) fn cell(self) -> usize {
        (self.0 >> 32 & 0xFFFF) as usize
    }

    pub(crate) fn turn(self) -> u16 {
        (self.0 >> 16 & 0xFFFF) as u16
    }

    pub(crate) fn span(self) -> Span {
        Span::from_log((self.0 >> 8 & 0xFF) as u8)
    }

    /// Whether a record has been written there.
    pub(crate) fn is_open(self) -> bool {
        self.0 & OPEN != 0
    }

    pub(crate) fn has_moved(self) -> bool {
        self.0 & MOVED != 0
    }

    /// The same place, with a record in it.
    pub(crate) fn opened(self) -> Self {
        Self(self.0 | OPEN)
    }

    /// The same place, to which a record has moved.
    pub(crate) fn moved(self) -> Self {
        Self(self.0 | MOVED)
    }

    /// The same place, its tail written once more.
    pub(crate) fn next_turn(self) -> Self {
        let turn = u64::from(self.turn().wrapping_add(1));
        Self(self.0 & !(0xFFFF << 16) | turn << 16)
    }
}
