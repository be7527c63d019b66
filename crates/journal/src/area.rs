//! Where the journal lives: memory that outlives the process, behind a seam where tests let it fail.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

/// A place for regions.
pub trait Disk: Send + Sync {
    /// The regions that are there.
    fn list(&self) -> io::Result<Vec<u16>>;

    /// Opens a region that is there, whole or cut off.
    fn open(&self, number: u16) -> io::Result<Box<dyn Area>>;

    /// Makes an empty region, at leisure as long as nobody is in a hurry. All its space is taken now: writing to it never
    /// fails for want of any.
    fn create(&self, number: u16, in_a_hurry: &dyn Fn() -> bool) -> io::Result<Box<dyn Area>>;

    /// Removes a region for good.
    fn remove(&self, number: u16) -> io::Result<()>;
}

/// One region's memory. What was put into it is there again after the process was killed.
///
/// All access is atomic, word by word: two who put to one place at once leave a mixture, and nothing worse.
pub trait Area: Send + Sync {
    /// All of it, in words of eight bytes.
    fn words(&self) -> &[AtomicU64];

    /// Puts bytes to this word and those behind it; the rest of the last word becomes zeros.
    fn put(&self, word: usize, bytes: &[u8]) {
        let Some(words) = self.words().get(word..) else { return };
        let (whole, rest) = bytes.as_chunks::<8>();
        for (place, bytes) in words.iter().zip(whole) {
            place.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        }
        if let (false, Some(place)) = (rest.is_empty(), words.get(whole.len())) {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            place.store(u64::from_le_bytes(last), Ordering::Relaxed);
        }
    }

    /// Puts one word, after all that was put before it.
    fn set(&self, word: usize, value: u64) {
        if let Some(place) = self.words().get(word) {
            place.store(value, Ordering::Release);
        }
    }

    /// Makes what was put outlive a loss of power, too. After an error nobody knows what does.
    fn sync(&self) -> io::Result<()>;

    /// Lets go of the memory that shows it, until it is looked at again.
    fn rest(&self) {}
}

/// One word; zero beyond the end.
pub(crate) fn get(area: &dyn Area, word: usize) -> u64 {
    area.words().get(word).map_or(0, |place| place.load(Ordering::Acquire))
}

/// Bytes from this word on, as many as there are, put into a buffer that is used again and again.
pub(crate) fn read_to<'b>(area: &dyn Area, word: usize, length: usize, buffer: &'b mut Vec<u8>) -> &'b [u8] {
    let words = area.words().get(word..).unwrap_or_default();
    let words = words.get(..length.div_ceil(8)).unwrap_or(words);
    if buffer.len() < words.len() * 8 {
        buffer.resize(words.len() * 8, 0);
    }
    for (bytes, place) in buffer.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *bytes = place.load(Ordering::Relaxed).to_le_bytes();
    }
    &buffer[..length.min(words.len() * 8)]
}

/// Bytes from this word on, as many as there are.
pub(crate) fn read(area: &dyn Area, word: usize, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let length = read_to(area, word, length, &mut bytes).len();
    bytes.truncate(length);
    bytes
}
