//! A disk in memory that outlives the journal, and fails on command: at any call, and after any word.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::{
    area::{Area, Disk},
    layout::REGION,
};

type Words = Arc<Vec<AtomicU64>>;

pub(crate) struct MemoryDisk {
    files: Mutex<BTreeMap<u16, Words>>,
    pub(crate) refuses_files: AtomicBool,
    pub(crate) refuses_syncs: AtomicBool,
    /// A new file is not made before this is taken back.
    pub(crate) holds_files: AtomicBool,
    /// A sync does not end before this is taken back.
    pub(crate) holds_syncs: AtomicBool,
    /// A sync has begun.
    pub(crate) syncs: AtomicBool,
    /// The files that were let go of in memory.
    pub(crate) rested: Mutex<BTreeSet<u16>>,
    /// How many words are still put before the process dies; everything after that is lost.
    words_left: Arc<AtomicU64>,
}

impl MemoryDisk {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            files: Mutex::default(),
            refuses_files: AtomicBool::new(false),
            refuses_syncs: AtomicBool::new(false),
            holds_files: AtomicBool::new(false),
            holds_syncs: AtomicBool::new(false),
            syncs: AtomicBool::new(false),
            rested: Mutex::default(),
            words_left: Arc::new(AtomicU64::new(u64::MAX)),
        })
    }

    /// The process dies after so many more words.
    pub(crate) fn dies_after(&self, words: u64) {
        self.words_left.store(words, Ordering::SeqCst);
    }

    /// How many of the words it had left were not needed.
    pub(crate) fn words_left(&self) -> u64 {
        self.words_left.load(Ordering::SeqCst)
    }

    /// A new process may put words again.
    pub(crate) fn revives(&self) {
        self.words_left.store(u64::MAX, Ordering::SeqCst);
    }

    pub(crate) fn flip(&self, file: u16, bit: usize) {
        let files = self.files.lock().unwrap();
        files[&file][bit / 64].fetch_xor(1 << (bit % 64), Ordering::SeqCst);
    }

    /// Makes zeros of these bytes; what stood there.
    pub(crate) fn zero(&self, file: u16, bytes: Range<usize>) -> Vec<u64> {
        let files = self.files.lock().unwrap();
        let words = &files[&file][bytes.start / 8..bytes.end / 8];
        let before = words.iter().map(|word| word.load(Ordering::SeqCst)).collect();
        words[1..].iter().for_each(|word| word.store(0, Ordering::SeqCst));
        words[0].fetch_and((1 << (bytes.start % 8 * 8)) - 1, Ordering::SeqCst);
        before
    }

    pub(crate) fn restore(&self, file: u16, byte: usize, words: &[u64]) {
        let files = self.files.lock().unwrap();
        for (place, word) in files[&file][byte / 8..].iter().zip(words) {
            place.store(*word, Ordering::SeqCst);
        }
    }
}

impl Disk for Arc<MemoryDisk> {
    fn list(&self) -> io::Result<Vec<u16>> {
        Ok(self.files.lock().unwrap().keys().copied().collect())
    }

    fn open(&self, number: u16) -> io::Result<Box<dyn Area>> {
        let words = self.files.lock().unwrap().get(&number).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(MemoryArea { number, words, disk: Arc::clone(self) }))
    }

    fn create(&self, number: u16, _in_a_hurry: &dyn Fn() -> bool) -> io::Result<Box<dyn Area>> {
        while self.holds_files.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        if self.refuses_files.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let words = (0..REGION / 8).map(|_| AtomicU64::new(0)).collect();
        self.files.lock().unwrap().insert(number, Arc::new(words));
        self.open(number)
    }

    fn remove(&self, number: u16) -> io::Result<()> {
        self.files.lock().unwrap().remove(&number);
        Ok(())
    }
}

struct MemoryArea {
    number: u16,
    words: Words,
    disk: Arc<MemoryDisk>,
}

impl MemoryArea {
    fn lives(&self) -> bool {
        let one_less = |words: u64| words.checked_sub(1);
        self.disk.words_left.try_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }
}

impl Area for MemoryArea {
    fn words(&self) -> &[AtomicU64] {
        &self.words
    }

    fn put(&self, word: usize, bytes: &[u8]) {
        for (at, bytes) in bytes.chunks(8).enumerate() {
            let mut value = [0; 8];
            value[..bytes.len()].copy_from_slice(bytes);
            self.set(word + at, u64::from_le_bytes(value));
        }
    }

    fn set(&self, word: usize, value: u64) {
        if self.lives() {
            self.words[word].store(value, Ordering::SeqCst);
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.syncs.store(true, Ordering::SeqCst);
        while self.disk.holds_syncs.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        if self.disk.refuses_syncs.load(Ordering::SeqCst) {
            return Err(io::Error::other("input/output error"));
        }
        Ok(())
    }

    fn rest(&self) {
        self.disk.rested.lock().unwrap().insert(self.number);
    }
}
