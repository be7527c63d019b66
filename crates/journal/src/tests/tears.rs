//! A kill at every word, a tear at every byte, a flip of every bit.

use std::{collections::HashSet, ops::Range};

use super::*;
use crate::{
    area::Disk,
    layout::{CELL, CELLS},
};

/// Does with a record what an exchange does; says after how many steps it was stopped by the death of the process.
fn live(journal: &Journal, whole: &Record, steps: usize) {
    let mut place = begin(journal, whole);
    for step in 1..=steps {
        journal.checkpoint(&mut place, &after(whole, step as u64).progress());
    }
    journal.close(place, &whole.progress());
}

/// What may be found of it.
fn states(whole: &Record, steps: usize) -> Vec<Record> {
    let mut states: Vec<_> = (0..=steps).map(|step| after(whole, step as u64)).collect();
    states.push(whole.clone());
    states
}

fn a_kill_at_every_word_leaves_the_last_state(whole: &Record) {
    const STEPS: usize = 3;
    let states = states(whole, STEPS);
    let mut seen = HashSet::new();
    let mut latest = 0;
    for words in 0.. {
        let disk = MemoryDisk::new();
        let journal = ready(&disk);
        // A record before and one behind it, which nothing may touch.
        let neighbours = [record(100), record(101)];
        let place = begin(&journal, &neighbours[0]);
        journal.close(place, &neighbours[0].progress());
        disk.dies_after(words);
        live(&journal, whole, STEPS);
        let was_enough = disk.words_left() > 0;
        disk.revives();
        drop(journal);

        let (mut records, damaged) = found(&disk);
        assert_eq!(damaged, 0, "after {words} words");
        assert!(records.contains(&neighbours[0]), "after {words} words");
        records.retain(|one| one.id == whole.id);
        assert!(records.len() <= 1, "after {words} words: {records:?}");
        if let Some(one) = records.first() {
            let state = states.iter().position(|state| state == one).expect("a state that it had");
            assert!(state >= latest, "after {words} words it was older than after fewer");
            latest = state;
            seen.insert(state);
        }
        if was_enough {
            break;
        }
    }
    assert_eq!(seen.len(), states.len(), "every state was found after some kill");
}

#[test]
fn a_kill_at_every_word_leaves_the_last_state_of_a_record() {
    a_kill_at_every_word_leaves_the_last_state(&record(1));
}

#[test]
fn a_kill_at_every_word_leaves_the_last_state_of_a_record_of_several_cells() {
    a_kill_at_every_word_leaves_the_last_state(&long(1));
}

#[test]
fn a_kill_while_a_record_moves_leaves_it_once() {
    let first = record(1);
    let second = Record { upstream: Some("fallback".into()), ..long(1) };
    for words in 0.. {
        let disk = MemoryDisk::new();
        let journal = ready(&disk);
        let mut place = begin(&journal, &first);
        disk.dies_after(words);
        assert!(!journal.open(&mut place, &after(&second, 0).view()));
        journal.checkpoint(&mut place, &after(&second, 5).progress());
        let was_enough = disk.words_left() > 0;
        disk.revives();
        drop(journal);
        let (records, damaged) = found(&disk);
        assert_eq!((records.len(), damaged), (1, 0), "after {words} words");
        let allowed = [after(&first, 0), after(&second, 0), after(&second, 5)];
        assert!(allowed.contains(&records[0]), "after {words} words: {:?}", records[0]);
        if was_enough {
            assert_eq!(records[0], allowed[2]);
            break;
        }
    }
}

#[test]
fn a_kill_while_records_are_cleared_leaves_each_or_nothing() {
    for words in 0.. {
        let disk = MemoryDisk::new();
        let journal = ready(&disk);
        for one in [record(1), long(2), record(3)] {
            live(&journal, &one, 1);
        }
        disk.dies_after(words);
        for waiting in journal.sweep(10) {
            journal.settle(waiting.place);
        }
        let was_enough = disk.words_left() > 0;
        disk.revives();
        drop(journal);
        let (records, damaged) = found(&disk);
        assert_eq!(damaged, 0, "after {words} words");
        assert!(records.iter().all(|one| [record(1), long(2), record(3)].contains(one)));
        if was_enough {
            assert!(records.is_empty());
            break;
        }
    }
}

/// Three records: one waiting, one of several cells, one running; and the bytes that they take.
fn three() -> (Arc<MemoryDisk>, [Record; 3], Range<usize>) {
    let disk = MemoryDisk::new();
    let journal = ready(&disk);
    let all = [record(1), long(2), after(&record(3), 4)];
    live(&journal, &all[0], 2);
    live(&journal, &all[1], 2);
    let mut place = begin(&journal, &all[2]);
    journal.checkpoint(&mut place, &all[2].progress());
    let area = Disk::open(&disk, 0).unwrap();
    let is_used =
        |cell: &usize| crate::area::read(&*area, cell * CELL / 8, CELL).iter().any(|byte| *byte != 0);
    let used: Vec<_> = (0..CELLS).filter(is_used).collect();
    (disk, all, used[0] * CELL..(used[used.len() - 1] + 1) * CELL)
}

#[test]
fn a_flipped_bit_costs_at_most_the_record_that_it_is_in() {
    let (disk, all, used) = three();
    let (mut as_it_was, mut aside, mut older) = (0, 0, 0);
    // Every bit in the long mode, else every seventh: coprime to the eight of a byte, so all kinds are met.
    let step = if std::env::var_os("LONG").is_some() { 1 } else { 7 };
    for bit in (8 * used.start..8 * used.end).step_by(step) {
        disk.flip(0, bit);
        let (records, damaged) = found(&disk);
        disk.flip(0, bit);
        let whole = all.iter().filter(|one| records.contains(one)).count();
        assert!(whole >= 2, "bit {bit}: {whole} of three");
        assert_eq!(records.len() + damaged, 3, "bit {bit}: every record is there or counted");
        match (whole, damaged) {
            (3, 0) => as_it_was += 1,
            (2, 1) => aside += 1,
            // The last word on it is gone, the last but one is not.
            (2, 0) => older += 1,
            other => panic!("bit {bit}: {other:?}"),
        }
    }
    assert!(as_it_was > 0 && aside > 0 && older > 0, "{as_it_was} {aside} {older}");
}

#[test]
fn a_file_that_lost_its_end_loses_what_stood_there_and_nothing_before() {
    let (disk, all, used) = three();
    for byte in used.clone() {
        let before = disk.zero(0, byte..used.end);
        let (records, damaged) = found(&disk);
        disk.restore(0, byte, &before);
        // One record is cut through: it is damaged, or an older state of it is left.
        let other = records.iter().filter(|one| !all.contains(one)).count();
        assert!(damaged + other <= 1, "byte {byte}: {damaged} damaged, {other} older");
    }
}

#[test]
fn what_was_running_is_interrupted_with_what_it_had_come_to() {
    let disk = MemoryDisk::new();
    let journal = ready(&disk);
    let whole = Record { outcome: Outcome::Finished, ..after(&record(1), 17) };
    let mut place = begin(&journal, &whole);
    journal.checkpoint(&mut place, &whole.progress());
    let (journal, counts) = Journal::open_on(Box::new(Arc::clone(&disk)), 1 << 22).unwrap();
    assert_eq!((counts.records, counts.interrupted, counts.damaged), (1, 1, 0));
    let (records, _) = waiting(&journal);
    assert_eq!((records[0].outcome, records[0].completion_tokens), (Outcome::Interrupted, Some(17)));
    assert_eq!(records[0].token_source, TokenSource::Partial);
}
