//! What fuzzing asks of the journal: a region's file of any bytes is opened, swept and cleared, and can be used again.
//!
//! libFuzzer calls these functions (`fuzz/`), and so does an ordinary test (`crates/fuzzing`). Checksums would keep
//! them from what lies behind, so an input of the second kind is written with the right ones.

use std::{
    io,
    sync::{Arc, atomic::AtomicU64},
};

use vllm_gateway_record::{Outcome, Record};

use crate::{
    area::{Area, Disk, get},
    codec::{self, Mark},
    journal::Journal,
    layout::{CELL, CELL_WORDS, CELLS, REGION, Span, State},
    recovery::Recovered,
    run::{Run, Written},
};

/// The first byte says whether the rest is the file itself (even), or runs that are written into one (odd):
/// how · turn · cells to leave out · lengths of head and two tails (2 each, little endian) · these three.
pub fn region(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let memory = if kind % 2 == 0 { Memory::of_file(rest) } else { Memory::of_runs(rest) };
    let (journal, found) = open(&memory);
    let waiting = journal.sweep(usize::MAX);
    assert_eq!(waiting.len() as u64, found.records, "what was counted is not what is there");
    let damaged = waiting.iter().filter(|waiting| waiting.found.is_err()).count();
    assert_eq!(damaged as u64, found.damaged);
    assert!(found.interrupted <= found.records);
    assert!(journal.sweep(usize::MAX).is_empty(), "a record was taken out twice");
    for waiting in &waiting {
        match &waiting.found {
            Ok(record) => assert_read_again(record),
            Err(damaged) => assert!(!damaged.reason.is_empty() && damaged.bytes.len() <= 8 * CELL),
        }
    }

    // What the store did not take waits again, for this process and for the next.
    waiting.iter().for_each(|waiting| journal.put_back(waiting.place));
    assert_eq!(journal.sweep(usize::MAX).len(), waiting.len());
    drop(journal);
    let (journal, again) = open(&memory);
    assert_eq!(
        (again.records, again.damaged),
        (found.records, found.damaged),
        "the next process finds another"
    );

    journal.sweep(usize::MAX).into_iter().for_each(|waiting| journal.settle(waiting.place));
    let free: usize = journal.each_region().map(|(_, region)| region.free()).sum();
    assert_eq!(free, CELLS, "what was cleared is not free");
    if let Some(place) = journal.admit() {
        journal.write(place, &example().view());
    }
    drop(journal);
    let (journal, last) = open(&memory);
    assert_eq!((last.records, last.damaged), (1, 0), "what was cleared is back");
    let found = journal.sweep(1).pop().map(|waiting| waiting.found.map_err(|damaged| damaged.reason));
    assert_eq!(found, Some(Ok(example())), "a record that was written later");
}

/// Two bytes are the length of the head; then it and the tail, as they stand behind their checksums.
pub fn codec(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return };
    let Some((head, tail)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length))) else { return };
    if let Some((record, _)) = codec::read(head, tail) {
        assert_read_again(&Record::from(&record));
    }
}

/// Inputs that a real journal could have left: open, closed, moved, of several cells, cut off.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let record = example();
    let long = Record { model: Some("m".repeat(300)), user_agent: Some("ä".repeat(300)), ..record.clone() };
    let closed = Mark { closed: true, moved: false };
    let one = [1, 0, 0];
    let runs = [
        run(one, &Written::new(&record.view(), closed)),
        run([0b001, 7, 0], &Written::new(&long.view(), Mark::default())),
        run([0b010, 0xFF, 3], &Written::new(&long.view(), Mark { closed: true, moved: true })),
        run([0b100, 0, 0], &Written::new(&record.view(), closed)),
        run([0b1000, 0, 1], &Written::short(&long.view(), closed)),
    ];
    let mut seeds: Vec<_> = runs.iter().map(|run| [&[1], run.as_slice()].concat()).collect();
    seeds.push([&[1], runs.concat().as_slice()].concat());
    let area = Memory::of_runs(&runs.concat());
    let file = crate::area::read(&area, 0, 8 * CELL);
    seeds.push([&[0], file.as_slice()].concat());
    seeds.push([&[0], &file[..CELL + 100]].concat());
    seeds
}

/// Inputs of [`codec`].
#[must_use]
pub fn codec_seeds() -> Vec<Vec<u8>> {
    let Written { head, tail } = Written::new(&example().view(), Mark { closed: true, moved: false });
    let length = u16::try_from(head.len()).unwrap_or_default().to_le_bytes();
    vec![[length.as_slice(), &head, &tail].concat()]
}

fn run(how: [u8; 3], written: &Written) -> Vec<u8> {
    let length = |part: &[u8]| u16::try_from(part.len()).unwrap_or_default().to_le_bytes();
    let Written { head, tail } = written;
    [&how[..], &length(head), &length(tail), &length(tail), head, tail, tail].concat()
}

fn open(memory: &Memory) -> (Journal, Recovered) {
    Journal::open_on(Box::new(memory.clone()), REGION as u64).expect("nothing here refuses")
}

/// Asserts that a record is read as it was, once it was written; longer texts are cut.
fn assert_read_again(record: &Record) {
    let Written { head, tail } = Written::new(&record.view(), Mark::default());
    let (again, _) = codec::read(&head, &tail).expect("what was written can be read");
    let cut = serde_json::to_string(record).is_ok_and(|json| json.len() > 2048);
    assert!(cut || again == record.borrowed(), "{again:?} is not {record:?}");
    assert_eq!((again.id, again.completion_tokens), (record.id, record.completion_tokens));
}

fn example() -> Record {
    let record = serde_json::json!({
        "id": "0198c5a2-1111-7222-8333-944445555666", "requestId": "r-1", "time": "2026-11-23T12:00:00Z",
        "appId": "a", "orgName": "acme", "keyPrefix": "sk-live-01234567", "method": "POST",
        "path": "/v1/chat/completions", "pipeline": "default", "model": "Qwen3-32B", "upstream": "qwen",
        "endpoint": "http://10.0.0.11:8000", "upstreamModel": null, "stream": true, "status": 200,
        "outcome": Outcome::Finished, "errorCode": null, "promptTokens": 7, "completionTokens": 40,
        "totalTokens": 47, "cachedTokens": null, "reasoningTokens": null, "tokenSource": "usage",
        "durationMs": 900, "ttftMs": 30, "attempts": 1, "requestBytes": 300, "responseBytes": 9000,
        "clientIp": "127.0.0.1", "userAgent": "curl",
    });
    serde_json::from_value(record).expect("it has all that a record has")
}

/// One region in memory, only as long as what stands in it: what lies behind is zero, as in a new file.
#[derive(Clone)]
struct Memory {
    words: Arc<[AtomicU64]>,
}

impl Memory {
    fn of_file(bytes: &[u8]) -> Self {
        let length = bytes.len().min(REGION).next_multiple_of(CELL) + 8 * CELL;
        let memory = Self::new(length.min(REGION));
        memory.put(0, &bytes[..bytes.len().min(REGION)]);
        memory
    }

    fn of_runs(mut data: &[u8]) -> Self {
        let memory = Self::new((data.len() / 9 + 1).min(8) * 16 * CELL);
        let mut cell = 0;
        while let Some((how, rest)) = data.split_first_chunk::<9>() {
            let [how, turn, skip, lengths @ ..] = *how;
            let span = Span::from_log(how & 3);
            cell = (cell + usize::from(skip % 8)).next_multiple_of(span.cells());
            if cell + span.cells() > memory.words.len() / CELL_WORDS {
                break;
            }
            data = rest;
            let [head, tail, other] = [0, 2, 4].map(|at| u16::from_le_bytes([lengths[at], lengths[at + 1]]));
            let head = part(&mut data, head, span.head_room());
            let tail = part(&mut data, tail, span.tail_room());
            let other = part(&mut data, other, span.tail_room());
            let run = Run { area: &memory, cell, span };
            run.write(head, tail);
            let turn = u16::from(turn) | u16::from(turn & 1) << 15;
            run.write_tail(turn, run.head_crc(), other);
            run.write_tail(turn.wrapping_add(1), run.head_crc(), tail);
            memory.damage(cell, span, how);
            cell += span.cells();
        }
        memory
    }

    fn new(length: usize) -> Self {
        Self { words: (0..length / 8).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Bits of `how`: 4 it was being written · 8, 16, 32 head and tails do not match their checksums · 64 two bits of
    /// its state are flipped, 128 many of them.
    fn damage(&self, cell: usize, span: Span, how: u8) {
        let flip = |word: usize, bits: u64| self.set(word, get(self, word) ^ bits);
        let first = cell * CELL_WORDS;
        if how & 4 != 0 {
            self.set(first, State::Busy(span).word());
        }
        for (bit, at) in [(8, 8), (16, span.tail_at(0)), (32, span.tail_at(1))] {
            if how & bit != 0 {
                flip(first + at / 8, 1 << 40);
            }
        }
        if how & 64 != 0 {
            flip(first, 0b1001);
        }
        if how & 128 != 0 {
            flip(first, 0x00FF_FF00);
        }
    }
}

/// Takes a part off the front, as long as it says and as there is and as there is room for.
fn part<'a>(data: &mut &'a [u8], length: u16, room: usize) -> &'a [u8] {
    let (part, rest) = data.split_at(usize::from(length).min(data.len()));
    *data = rest;
    &part[..part.len().min(room)]
}

impl Disk for Memory {
    fn list(&self) -> io::Result<Vec<u16>> {
        Ok(vec![0])
    }

    fn open(&self, _: u16) -> io::Result<Box<dyn Area>> {
        Ok(Box::new(self.clone()))
    }

    fn create(&self, _: u16, _in_a_hurry: &dyn Fn() -> bool) -> io::Result<Box<dyn Area>> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn remove(&self, _: u16) -> io::Result<()> {
        Ok(())
    }
}

impl Area for Memory {
    fn words(&self) -> &[AtomicU64] {
        &self.words
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
