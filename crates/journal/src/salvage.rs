//! What is left of a region's file whose disk does not give all of it back.
//!
//! The file is mapped, and a page that cannot be read would end the process with a signal, at each start anew. So each
//! file that is found is read once before, and one that cannot be is copied, as far as it can, and put aside.

use std::io;

use crate::layout::REGION;

/// What is read at once where the file reads well, in bytes.
const STEP: usize = 256 * 1024;
/// What is given up at once where it does not: a page of memory.
pub(crate) const PAGE: usize = 4096;

/// Reads some bytes at a place of a file, as many as there are.
pub(crate) trait ReadAt {
    /// How many were read; none at the end.
    fn read_at(&self, bytes: &mut [u8], place: u64) -> io::Result<usize>;
}

impl ReadAt for std::fs::File {
    fn read_at(&self, bytes: &mut [u8], place: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, bytes, place)
    }
}

/// Reads all of a region, and what it is made of if not all of it could be read.
pub(crate) fn read(file: &impl ReadAt) -> Option<Salvaged> {
    let mut bytes = vec![0; STEP];
    let unreadable = (0..REGION).step_by(STEP).any(|at| fill(file, &mut bytes, at).is_err());
    drop(bytes);
    unreadable.then(|| page_by_page(file))
}

/// What could be read of a region.
pub(crate) struct Salvaged {
    /// The region, with zeros where nothing could be read.
    pub(crate) bytes: Vec<u8>,
    /// How many of its pages could not be read.
    pub(crate) lost: usize,
    /// What the disk said to the first of them.
    pub(crate) error: Option<io::Error>,
}

fn page_by_page(file: &impl ReadAt) -> Salvaged {
    let mut salvaged = Salvaged { bytes: vec![0; REGION], lost: 0, error: None };
    for (number, page) in salvaged.bytes.chunks_mut(PAGE).enumerate() {
        if let Err(error) = fill(file, page, number * PAGE) {
            page.fill(0);
            salvaged.lost += 1;
            salvaged.error.get_or_insert(error);
        }
    }
    salvaged
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &impl ReadAt, bytes: &mut [u8], at: usize) -> io::Result<()> {
    let mut read = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, (at + read) as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A disk with a bad spot, which gives a few bytes at a time.
    struct Bad {
        spot: std::ops::Range<u64>,
        length: u64,
    }

    impl ReadAt for Bad {
        fn read_at(&self, bytes: &mut [u8], place: u64) -> io::Result<usize> {
            let most = (bytes.len() as u64).min(10_000).min(self.length.saturating_sub(place));
            if place < self.spot.end && self.spot.start < place + most {
                return Err(io::Error::other("bad sector"));
            }
            let most = usize::try_from(most).unwrap();
            bytes[..most].fill(7);
            Ok(most)
        }
    }

    #[test]
    fn what_reads_well_is_left_as_it_is_also_where_it_is_cut_off() {
        for length in [REGION as u64, REGION as u64 / 2 + 3, 0] {
            assert!(read(&Bad { spot: 0..0, length }).is_none(), "{length}");
        }
    }

    #[test]
    fn only_the_pages_of_a_bad_spot_are_lost() {
        let spot = 3 * STEP as u64 + 100..3 * STEP as u64 + PAGE as u64 + 1;
        let salvaged = read(&Bad { spot, length: REGION as u64 }).unwrap();
        assert_eq!(salvaged.lost, 2);
        assert_eq!(salvaged.error.unwrap().to_string(), "bad sector");
        let lost = 3 * STEP..3 * STEP + 2 * PAGE;
        for (at, byte) in salvaged.bytes.iter().enumerate() {
            assert_eq!(*byte == 0, lost.contains(&at), "{at}");
        }
    }
}
