//! A disk without room, a disk that fails, a folder that somebody has.

use std::{
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::*;
use crate::{
    area::Disk,
    folder::{Folder, JournalError},
    keeper::{Keeper, make_room},
    layout::CELLS,
};

#[test]
fn the_quota_is_kept_and_what_is_given_back_is_room_again() {
    let disk = MemoryDisk::new();
    let journal = ready(&disk);
    let mut places: Vec<_> = std::iter::from_fn(|| journal.admit()).collect();
    assert_eq!(places.len(), CELLS);
    make_room(&journal).unwrap();
    assert!(journal.admit().is_none(), "one region is all that it may have");
    journal.release(places.pop().unwrap());
    assert!(journal.admit().is_some());
    assert!(journal.admit().is_none());
}

#[test]
fn a_full_disk_refuses_what_comes_and_keeps_what_is_there() {
    let disk = MemoryDisk::new();
    disk.refuses_files.store(true, Ordering::SeqCst);
    let journal = open(&disk, 4);
    assert!(make_room(&journal).is_err());
    assert!(journal.admit().is_none());
    disk.refuses_files.store(false, Ordering::SeqCst);
    make_room(&journal).unwrap();
    let place = begin(&journal, &record(1));
    disk.refuses_files.store(true, Ordering::SeqCst);
    journal.close(place, &record(1).progress());
    assert_eq!(waiting(&journal), (vec![record(1)], 0));
}

#[test]
fn room_is_made_before_it_is_needed_and_given_up_after() {
    let disk = MemoryDisk::new();
    let journal = open(&disk, 8);
    make_room(&journal).unwrap();
    assert_eq!(journal.each_region().count(), 1);
    let places: Vec<_> = std::iter::from_fn(|| {
        make_room(&journal).unwrap();
        journal.admit()
    })
    .take(3 * CELLS)
    .collect();
    assert_eq!(journal.each_region().count(), 4, "three full ones, and one ahead");
    places.into_iter().for_each(|place| journal.release(place));
    crate::keeper::shrink(&journal);
    assert_eq!(journal.each_region().count(), 2);
    assert_eq!(disk.list().unwrap().len(), 2);
}

#[test]
fn what_is_full_or_nearly_so_is_not_kept_in_memory_for_a_cell_that_was_given_back() {
    let disk = MemoryDisk::new();
    let journal = open(&disk, 8);
    let take = || {
        make_room(&journal).unwrap();
        journal.admit()
    };
    let places: Vec<_> = std::iter::from_fn(take).take(3 * CELLS + 10).collect();
    // As a request does that is refused for its key while a later file is being written to.
    for number in 0..3 {
        journal.release(places[number * CELLS + 5]);
    }
    crate::keeper::tidy(&journal);
    let rested: Vec<u16> = disk.rested.lock().unwrap().iter().copied().collect();
    assert_eq!(rested, [0, 1, 2, 4], "all but the one that is written to");
}

#[test]
fn after_a_failed_sync_nothing_more_is_written_there_and_nothing_is_lost() {
    let disk = MemoryDisk::new();
    let journal = Arc::new(open(&disk, 4));
    make_room(&journal).unwrap();
    let place = begin(&journal, &record(1));
    disk.refuses_syncs.store(true, Ordering::SeqCst);
    crate::keeper::sync(&journal);
    assert!(journal.admit().is_none(), "the only region has failed");
    disk.refuses_syncs.store(false, Ordering::SeqCst);
    make_room(&journal).unwrap();
    let second = begin(&journal, &record(2));
    assert_eq!(second.region(), 1);
    journal.close(place, &record(1).progress());
    journal.close(second, &record(2).progress());
    let swept = journal.sweep(10);
    assert_eq!(swept.len(), 2);
    swept.into_iter().for_each(|waiting| journal.settle(waiting.place));
    crate::keeper::tidy(&journal);
    assert_eq!(disk.list().unwrap(), [1], "the failed file goes when nothing is left in it");
}

#[test]
fn room_is_made_while_a_sync_takes_its_time() {
    let disk = MemoryDisk::new();
    let journal = Arc::new(open(&disk, 8));
    disk.holds_syncs.store(true, Ordering::SeqCst);
    let _keeper = Keeper::start(&journal, Some(Duration::from_millis(1))).unwrap();
    // Dropped first, also when this fails: the keeper's end waits for the sync.
    let _release = Release(&disk);
    begin(&journal, &record(1));
    let begun = Instant::now();
    let wait = || {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing goes on while a sync does not end");
        std::thread::yield_now();
    };
    while !disk.syncs.load(Ordering::SeqCst) {
        wait();
    }
    let mut admitted = 0;
    while admitted < 4 * CELLS {
        match journal.admit() {
            Some(_) => admitted += 1,
            None => wait(),
        }
    }
}

/// Lets syncs go on when it is dropped.
struct Release<'a>(&'a MemoryDisk);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.holds_syncs.store(false, Ordering::SeqCst);
    }
}

#[test]
fn a_folder_has_one_journal_at_a_time() {
    let place = TempDir::new().unwrap();
    let (_, held) = Folder::lock(place.path()).unwrap();
    let second = Folder::lock(place.path()).err().unwrap();
    assert!(matches!(second, JournalError::Taken(_)));
    assert!(second.to_string().contains("give each gateway a folder of its own"), "{second}");
    drop(held);
    Folder::lock(place.path()).unwrap();
}

#[test]
fn a_real_folder_keeps_records_over_a_restart_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let place = TempDir::new().unwrap();
    let path = place.path().join("new/journal");
    let (folder, held) = Folder::lock(&path).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&place.path().join("new"))), (0o700, 0o700));
    let journal = Arc::new(Journal::open_on(Box::new(folder), 64 << 20).unwrap().0);
    let keeper = Keeper::start(&journal, Some(Duration::from_millis(10))).unwrap();
    let running = begin(&journal, &record(1));
    let closed = begin(&journal, &long(2));
    journal.close(closed, &long(2).progress());
    assert!(running.is_open());
    drop((keeper, journal, held));

    let (folder, _held) = Folder::lock(&path).unwrap();
    let files = folder.list().unwrap();
    assert!(!files.is_empty());
    for file in std::fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    let (journal, counts) = Journal::open_on(Box::new(folder), 64 << 20).unwrap();
    assert_eq!((counts.records, counts.interrupted), (2, 1));
    let (records, damaged) = waiting(&journal);
    assert_eq!(damaged, 0);
    assert!(records.contains(&after(&record(1), 0)) && records.contains(&long(2)));
}

#[test]
fn a_file_that_was_cut_off_is_made_whole_again() {
    let place = TempDir::new().unwrap();
    let (folder, _held) = Folder::lock(place.path()).unwrap();
    drop(folder.create(0, &|| true).unwrap());
    let file = place.path().join("00000.cells1");
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(5_000).unwrap();
    let (journal, counts) = Journal::open_on(Box::new(folder), 4 << 20).unwrap();
    assert_eq!(counts.records, 0);
    journal.release(begin(&journal, &record(1)));
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 4 << 20);
}

#[cfg(unix)]
#[test]
fn a_copy_with_holes_takes_its_space_before_it_is_written_to_and_keeps_what_it_holds() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    let place = TempDir::new().unwrap();
    let (folder, _held) = Folder::lock(place.path()).unwrap();
    drop(folder.create(0, &|| true).unwrap());
    let file = place.path().join("00000.cells1");
    let whole = std::fs::read(&file).unwrap();
    let sparse = std::fs::File::create(&file).unwrap();
    sparse.set_len(whole.len() as u64).unwrap();
    sparse.write_all_at(b"something", 1 << 20).unwrap();
    assert!(sparse.metadata().unwrap().blocks() * 512 < 4 << 20, "this file system makes no holes");
    drop(folder.open(0).unwrap());
    let metadata = std::fs::metadata(&file).unwrap();
    assert!(metadata.blocks() * 512 >= 4 << 20, "{} blocks", metadata.blocks());
    assert_eq!(&std::fs::read(&file).unwrap()[1 << 20..][..9], b"something");
}

#[test]
fn a_file_with_another_spelling_of_a_number_is_not_the_journals() {
    let place = TempDir::new().unwrap();
    let (folder, _held) = Folder::lock(place.path()).unwrap();
    drop(folder.create(0, &|| true).unwrap());
    for name in ["+0.cells1", "000000.cells1", "0.cells1", "1.cells1"] {
        std::fs::copy(place.path().join("00000.cells1"), place.path().join(name)).unwrap();
    }
    assert_eq!(folder.list().unwrap(), [0]);
}
