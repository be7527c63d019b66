//! How the journal's files are laid out: regions of cells, and runs of cells that hold one record each.
//!
//! ```text
//! region   one file of 4 MiB: 4096 cells of 1 KiB
//! run      1, 2, 4 or 8 cells in a row, for one record:
//!          state (8) · length and checksum of the head (8) · head … · tail A · tail B
//! head     who asked for what: written once, before an upstream is called
//! tail     how far it has come: written again with every chunk, by turns into A and B, so that the one before is
//!          whole until the new one is; the last one says how it ended
//! ```

/// Bytes of one cell.
pub(crate) const CELL: usize = 1024;
/// Words of eight bytes in one cell.
pub(crate) const CELL_WORDS: usize = CELL / 8;
/// Cells of one region.
pub(crate) const CELLS: usize = 4096;
/// Cells are counted in groups of 64, a bit for each.
pub(crate) const GROUPS: usize = CELLS / 64;
/// Bytes of one region, and of its file.
pub(crate) const REGION: usize = CELL * CELLS;
/// Bytes in front of a head: state, length, checksum.
pub(crate) const HEAD_AT: usize = 16;
/// Bytes in front of a tail's text: turn, checksum, length.
pub(crate) const TAIL_FRAME: usize = 16;

/// How many cells a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(u8);

impl Span {
    /// All there are, the smallest first.
    pub(crate) const ALL: [Self; 4] = [Self(0), Self(1), Self(2), Self(3)];
    pub(crate) const SMALLEST: Self = Self(0);

    /// The span with this binary logarithm.
    pub(crate) fn from_log(log: u8) -> Self {
        Self(log & 3)
    }

    pub(crate) fn log(self) -> u8 {
        self.0
    }

    pub(crate) fn cells(self) -> usize {
        1 << self.0
    }

    /// Room for the text of a tail.
    pub(crate) fn tail_room(self) -> usize {
        self.tail_size() - TAIL_FRAME
    }

    /// Room for a head.
    pub(crate) fn head_room(self) -> usize {
        self.cells() * CELL - HEAD_AT - 2 * self.tail_size()
    }

    /// Where the tail of this turn begins, in bytes from the run's beginning.
    pub(crate) fn tail_at(self, turn: u16) -> usize {
        let from_end = if turn.is_multiple_of(2) { 2 } else { 1 };
        self.cells() * CELL - from_end * self.tail_size()
    }

    /// The smallest span with room for both.
    pub(crate) fn for_record(head: usize, tail: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|span| head <= span.head_room() && tail <= span.tail_room())
    }

    fn tail_size(self) -> usize {
        256 * self.cells()
    }
}

/// The first word of a cell. The values differ in many bits, so that a damaged one is not taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing is here.
    Free,
    /// A run of several cells is being written or cleared: nothing is here yet, or any more.
    Busy(Span),
    /// A record is here.
    Taken(Span),
}

const FREE: u64 = 0xA6D3_1C58_90E7_4B2F;
const BUSY: [u64; 4] =
    [0x1F8E_63B0_D29C_754A, 0xC34B_9A07_5E61_F8D2, 0x78F2_05DD_A93E_C61B, 0x9150_EE6A_37C4_0DB8];
const TAKEN: [u64; 4] =
    [0x5B27_D49F_0C86_A3E1, 0xE89C_3175_B24D_60FA, 0x346A_CF12_7BF5_981D, 0xD20D_7AC8_E517_3F46];

/// So many bits of a state may be damaged before it is unknown. No two states are nearer than twice that.
const TOLERANCE: u32 = 6;

impl State {
    pub(crate) fn word(self) -> u64 {
        match self {
            Self::Free => FREE,
            Self::Busy(span) => BUSY[usize::from(span.0 & 3)],
            Self::Taken(span) => TAKEN[usize::from(span.0 & 3)],
        }
    }

    /// What a word says; none if it is no state. A file begins as zeros.
    pub(crate) fn of(word: u64) -> Option<Self> {
        if word == 0 {
            return Some(Self::Free);
        }
        Self::every().find(|state| (state.word() ^ word).count_ones() <= TOLERANCE)
    }

    fn every() -> impl Iterator<Item = Self> {
        let spans = || Span::ALL.into_iter();
        std::iter::once(Self::Free).chain(spans().map(Self::Busy)).chain(spans().map(Self::Taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_states_can_be_mistaken_for_each_other() {
        let mut words: Vec<u64> = State::every().map(State::word).collect();
        words.push(0);
        for (at, one) in words.iter().enumerate() {
            for other in &words[at + 1..] {
                assert!((one ^ other).count_ones() > 2 * TOLERANCE, "{one:x} {other:x}");
            }
        }
    }

    #[test]
    fn a_state_with_a_flipped_bit_is_still_known() {
        for state in State::every() {
            for bit in 0..64 {
                assert_eq!(State::of(state.word() ^ (1 << bit)), Some(state));
            }
        }
        assert_eq!(State::of(u64::from_le_bytes(*b"anything")), None);
    }

    #[test]
    fn head_and_tails_of_a_run_do_not_overlap() {
        for span in Span::ALL {
            assert_eq!(HEAD_AT + span.head_room(), span.tail_at(0));
            assert_eq!(span.tail_at(0) + TAIL_FRAME + span.tail_room(), span.tail_at(1));
            assert_eq!(span.tail_at(1) + TAIL_FRAME + span.tail_room(), span.cells() * CELL);
        }
    }
}
