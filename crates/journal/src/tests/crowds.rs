//! Many threads at once: every record comes out once, and no two share a place.

use std::{collections::HashMap, thread};

use super::*;
use crate::{area::Disk, region::Region};

#[test]
fn what_many_threads_write_at_once_comes_out_once_each_and_whole() {
    const THREADS: u128 = 8;
    const EACH: u128 = 2_000;
    let disk = MemoryDisk::new();
    let journal = open(&disk, 16);
    // All room is there from the start: who makes it in time is another test's matter.
    for number in 0..journal.regions.len() {
        journal
            .add_region(number, Region::new(disk.create(u16::try_from(number).unwrap(), &|| true).unwrap()));
    }
    let mut seen: HashMap<Uuid, Record> = HashMap::new();
    thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let journal = &journal;
                scope.spawn(move || {
                    for number in 0..EACH {
                        let id = thread * EACH + number;
                        let one = if number % 7 == 0 { long(id) } else { record(id) };
                        let place = journal.admit().unwrap();
                        if number % 5 == 0 {
                            journal.write(place, &one.view());
                            continue;
                        }
                        let mut place = place;
                        journal.open(&mut place, &after(&one, 0).view());
                        journal.checkpoint(&mut place, &after(&one, 3).progress());
                        journal.close(place, &one.progress());
                    }
                })
            })
            .collect();
        while seen.len() < usize::try_from(THREADS * EACH).unwrap() {
            let finished = writers.iter().all(thread::ScopedJoinHandle::is_finished);
            let swept = journal.sweep(500);
            assert!(!(finished && swept.is_empty()), "only {} came out", seen.len());
            for waiting in swept {
                let record = waiting.found.map_err(|damaged| damaged.reason).unwrap();
                journal.settle(waiting.place);
                assert!(seen.insert(record.id, record).is_none(), "it came out before");
            }
        }
    });
    for (number, one) in (0..THREADS * EACH).map(|id| (id % EACH, id)) {
        let wanted = if number % 7 == 0 { long(one) } else { record(one) };
        assert_eq!(seen[&wanted.id], wanted);
    }
    assert_eq!(found(&disk), (vec![], 0));
}

#[test]
fn what_is_behind_is_swept_though_there_is_always_something_in_front() {
    let disk = MemoryDisk::new();
    let journal = ready(&disk);
    let behind: Vec<_> = (0..200).map(|_| journal.admit().unwrap()).collect();
    for (id, place) in behind.into_iter().enumerate() {
        journal.write(place, &record(id as u128).view());
    }
    let mut seen = std::collections::HashSet::new();
    for fresh in 1_000.. {
        for waiting in journal.sweep(64) {
            seen.insert(waiting.found.map_err(|damaged| damaged.reason).unwrap().id);
            journal.settle(waiting.place);
            // The room that it gave back is used again at once.
            let place = journal.admit().unwrap();
            journal.write(place, &record(fresh).view());
        }
        if (0..200).all(|id| seen.contains(&record(id).id)) {
            break;
        }
        assert!(fresh < 1_100, "some wait for ever");
    }
}
