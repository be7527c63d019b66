//! What the journal costs on the path of a request, beside what else could keep a record. Prints figures:
//! `cargo test --release -p vllm-gateway-journal cost -- --ignored --nocapture`.
#![allow(clippy::print_stdout)]

use std::{
    io::Write,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::*;
use crate::{
    codec::Mark,
    folder::Folder,
    keeper::{Keeper, make_room},
    run::Written,
};

const REQUESTS: u32 = 200_000;
const BATCH: u32 = 2_000;

#[test]
#[ignore = "prints figures, and proves nothing"]
fn cost() {
    let folder = TempDir::new().unwrap();
    let (disk, _lock) = Folder::lock(folder.path()).unwrap();
    let journal = Arc::new(Journal::open_on(Box::new(disk), 1 << 30).unwrap().0);
    make_room(&journal).unwrap();
    let _keeper = Keeper::start(&journal, Some(Duration::from_secs(1))).unwrap();
    let record = record(1);
    let (view, progress) = (record.view(), record.progress());

    let mut on_the_path = Duration::ZERO;
    let mut behind_it = Duration::ZERO;
    for _ in 0..REQUESTS / BATCH {
        let begun = Instant::now();
        for _ in 0..BATCH {
            let mut place = journal.admit().unwrap();
            journal.open(&mut place, &view);
            journal.close(place, &progress);
        }
        on_the_path += begun.elapsed();
        let begun = Instant::now();
        let mut places = Vec::new();
        journal.take_out(usize::MAX, |place, _| places.push(place));
        places.into_iter().for_each(|place| journal.settle(place));
        behind_it += begun.elapsed();
    }
    println!("admit, open and close:      {:>5} ns a request", (on_the_path / REQUESTS).as_nanos());
    println!(
        "read back and clear:        {:>5} ns a request, off the path",
        (behind_it / REQUESTS).as_nanos()
    );

    let mut place = journal.admit().unwrap();
    journal.open(&mut place, &view);
    let begun = Instant::now();
    for _ in 0..REQUESTS {
        journal.checkpoint(&mut place, &progress);
    }
    println!("checkpoint:                 {:>5} ns a chunk", (begun.elapsed() / REQUESTS).as_nanos());

    let Written { head, tail } = Written::new(&view, Mark::default());
    let mut file = std::fs::File::create(folder.path().join("appended")).unwrap();
    let begun = Instant::now();
    for _ in 0..REQUESTS {
        file.write_all(&[head.as_slice(), &tail].concat()).unwrap();
        file.write_all(&tail).unwrap();
    }
    println!("two appends to a file:      {:>5} ns a request", (begun.elapsed() / REQUESTS).as_nanos());
}
