//! One record in a run of cells: how it is written, and what can be read of it after the worst.

use vllm_gateway_record::{Outcome, Record, RecordView};

use crate::{
    area::{Area, get, read_to},
    codec::{self, Mark},
    layout::{CELL_WORDS, CELLS, HEAD_AT, Span, State, TAIL_FRAME},
};

/// In place of a tail's turn and checksum: an even turn where only odd ones are.
const NO_TAIL: u64 = 0;

/// A run of cells in an area.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) area: &'a dyn Area,
    /// Its first cell.
    pub(crate) cell: usize,
    pub(crate) span: Span,
}

/// What stands in a run that is taken; or, there was a record, and why it cannot be read.
pub(crate) type Found<'s> = Result<(Record<&'s str>, Mark), &'static str>;

/// Where heads and tails are read to, one after the other.
#[derive(Default)]
pub(crate) struct Scratch {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Run<'_> {
    fn word(self, byte: usize) -> usize {
        self.cell * CELL_WORDS + byte / 8
    }

    /// Writes the head and the first tail; the record is there when this returns, and not before.
    pub(crate) fn write(self, head: &[u8], tail: &[u8]) {
        assert!(
            head.len() <= self.span.head_room() && tail.len() <= self.span.tail_room(),
            "it was measured"
        );
        let several = self.span > Span::SMALLEST;
        if several {
            // What is written over the cells behind the first must not be taken for something of theirs.
            self.area.set(self.word(0), State::Busy(self.span).word());
        }
        // Nor must the other tail of the record that was here before, should their heads have the same checksum.
        self.area.set(self.word(self.span.tail_at(1)), NO_TAIL);
        let crc = crc32fast::hash(head);
        self.area.put(self.word(8), &frame(head.len(), crc));
        self.area.put(self.word(HEAD_AT), head);
        self.write_tail(0, crc, tail);
        self.area.set(self.word(0), State::Taken(self.span).word());
    }

    /// Writes a tail in place of the last but one.
    pub(crate) fn write_tail(self, turn: u16, head_crc: u32, tail: &[u8]) {
        let at = self.span.tail_at(turn);
        self.area.put(self.word(at + TAIL_FRAME), tail);
        self.area.put(self.word(at + 8), &(tail.len() as u64).to_le_bytes());
        let crc = tail_crc(head_crc, turn, tail);
        self.area.set(self.word(at), u64::from(turn) | u64::from(crc) << 32);
    }

    /// The checksum of the head that stands here.
    pub(crate) fn head_crc(self) -> u32 {
        (get(self.area, self.word(8)) >> 32) as u32
    }

    /// Clears it.
    pub(crate) fn clear(self) {
        if self.span > Span::SMALLEST {
            self.area.set(self.word(0), State::Busy(self.span).word());
            for cell in 1..self.span.cells() {
                self.area.set((self.cell + cell) * CELL_WORDS, State::Free.word());
            }
        }
        self.area.set(self.word(0), State::Free.word());
    }

    /// Reads it: the newest tail that is whole counts.
    pub(crate) fn read(self, scratch: &mut Scratch) -> Found<'_> {
        let framed = get(self.area, self.word(8));
        let (length, crc) = ((framed & 0xFFFF_FFFF) as usize, (framed >> 32) as u32);
        if length > self.span.head_room() {
            return Err("the length of its head cannot be");
        }
        let head = read_to(self.area, self.word(HEAD_AT), length, &mut scratch.head);
        if crc32fast::hash(head) != crc {
            return Err("its head does not match its checksum");
        }
        // The odd one counts if it follows the even one, or if that is not whole.
        let [even, odd] = [0, 1].map(|parity| self.turn(parity));
        let order = if odd == even.wrapping_add(1) { [1, 0] } else { [0, 1] };
        let whole = order.into_iter().find_map(|parity| self.tail(parity, crc, &mut scratch.tail));
        let Some(length) = whole else {
            return Err("neither of its tails matches its checksum");
        };
        let (mut record, mark) = codec::read(head, &scratch.tail[..length])
            .ok_or("it is not written as this version writes records")?;
        if !mark.closed {
            record.outcome = Outcome::Interrupted;
        }
        Ok((record, mark))
    }

    /// Which turn stands there, if it is whole.
    fn turn(self, parity: u16) -> u16 {
        (get(self.area, self.word(self.span.tail_at(parity))) & 0xFFFF) as u16
    }

    /// Reads a tail to the buffer, if it is whole; its length.
    fn tail(self, parity: u16, head_crc: u32, buffer: &mut Vec<u8>) -> Option<usize> {
        let at = self.span.tail_at(parity);
        let framed = get(self.area, self.word(at));
        let (turn, crc) = ((framed & 0xFFFF) as u16, (framed >> 32) as u32);
        let length = usize::try_from(get(self.area, self.word(at + 8))).ok()?;
        if length > self.span.tail_room() || turn % 2 != parity {
            return None;
        }
        let tail = read_to(self.area, self.word(at + TAIL_FRAME), length, buffer);
        (tail_crc(head_crc, turn, tail) == crc).then_some(tail.len())
    }
}

/// What the first cell of a run says about it; none if it is damaged beyond knowing.
pub(crate) fn state_of(area: &dyn Area, cell: usize) -> Option<State> {
    let state = State::of(get(area, cell * CELL_WORDS))?;
    match state {
        State::Busy(span) | State::Taken(span) if cell + span.cells() > CELLS => None,
        state => Some(state),
    }
}

/// How a record is written: as long as it is, or with its texts cut, where there is no room.
pub(crate) struct Written {
    pub(crate) head: Vec<u8>,
    pub(crate) tail: Vec<u8>,
}

impl Written {
    pub(crate) fn new(record: &RecordView<'_>, mark: Mark) -> Self {
        Self::cut(record, mark, usize::MAX)
    }

    pub(crate) fn short(record: &RecordView<'_>, mark: Mark) -> Self {
        Self::cut(record, mark, codec::SHORT)
    }

    fn cut(record: &RecordView<'_>, mark: Mark, longest: usize) -> Self {
        let (mut head, mut tail) = (Vec::with_capacity(512), Vec::with_capacity(256));
        codec::write_head(record, longest, &mut head);
        codec::write_tail(&record.progress(), mark, longest, &mut tail);
        Self { head, tail }
    }

    pub(crate) fn span(&self) -> Option<Span> {
        Span::for_record(self.head.len(), self.tail.len())
    }
}

/// Bound to its head, so that a tail of the record that was here before is not taken for one of this.
fn tail_crc(head_crc: u32, turn: u16, tail: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(head_crc);
    hasher.update(&turn.to_le_bytes());
    hasher.update(tail);
    hasher.finalize()
}

fn frame(length: usize, crc: u32) -> [u8; 8] {
    (length as u64 & 0xFFFF_FFFF | u64::from(crc) << 32).to_le_bytes()
}
