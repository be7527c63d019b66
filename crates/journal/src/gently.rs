//! What is done to a whole file, piece by piece, so that no request waits for the end of it.
//!
//! A file has a thousand pages, and the kernel goes through them for some hundred microseconds at a time, on a processor
//! that somebody who is about to be answered may want.

use std::{
    fs::File,
    io::{self, Write},
    ops::Range,
    time::Duration,
};

use vllm_gateway_store::{Courtesy, Pace};

use crate::layout::REGION;

/// How long it goes on before it rests, and for how long it does: next to nothing of a processor. A whole file takes some
/// thirty milliseconds so, and two where somebody is about to need it.
const GO: Pace = Pace::by(Duration::from_micros(20));
const REST: Duration = Duration::from_micros(500);
/// What is done in one go at the least: a few microseconds' work.
const PIECE: usize = 16 << 10;
/// What a new file is made of.
static ZEROS: [u8; PIECE] = [0; PIECE];

/// Whether there is no time for rests.
pub(crate) type InAHurry<'a> = &'a dyn Fn() -> bool;

/// Who waits for no file.
pub(crate) fn never() -> bool {
    false
}

/// Writes zeros to the file, where it stands, to the end of the region.
pub(crate) fn fill(mut file: &File, from: u64, in_a_hurry: InAHurry<'_>) -> io::Result<()> {
    let missing = REGION.saturating_sub(usize::try_from(from).unwrap_or(REGION));
    for piece in pieces(missing, PIECE, in_a_hurry) {
        file.write_all(&ZEROS[..piece.len()])?;
    }
    file.flush()
}

/// Has the kernel begin to write the file to the disk, so that the sync that follows finds little left to do. It promises
/// nothing by itself: it waits for no disk, and whatever fails, the sync tells.
pub(crate) fn begin_to_write(file: &File, in_a_hurry: InAHurry<'_>) {
    for piece in pieces(REGION, 4 * PIECE, in_a_hurry) {
        if !begin(file, &piece) {
            return;
        }
    }
}

/// Does this to a region, a range of bytes at a time.
pub(crate) fn each_part(mut act: impl FnMut(Range<usize>) -> io::Result<()>) -> io::Result<()> {
    pieces(REGION, 8 * PIECE, &never).try_for_each(&mut act)
}

/// The ranges of a length; whoever asks for the next one rests first, if it is time to.
fn pieces(length: usize, of: usize, in_a_hurry: InAHurry<'_>) -> impl Iterator<Item = Range<usize>> {
    let (mut hurried, mut leisurely) = (Courtesy::new(GO), Courtesy::new(GO).resting(REST));
    (0..length).step_by(of).map(move |from| {
        if in_a_hurry() {
            hurried.give_way();
        } else {
            leisurely.give_way();
        }
        from..length.min(from + of)
    })
}

/// Whether the system can do so.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn begin(file: &File, piece: &Range<usize>) -> bool {
    use std::os::fd::AsRawFd;
    let (Ok(from), Ok(length)) = (i64::try_from(piece.start), i64::try_from(piece.len())) else {
        return false;
    };
    // SAFETY: the descriptor is open as long as `file` is borrowed, and the call touches no memory of this process.
    let begun = unsafe { libc::sync_file_range(file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE) };
    begun == 0
}

#[cfg(not(target_os = "linux"))]
fn begin(_file: &File, _piece: &Range<usize>) -> bool {
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read, Seek};

    use super::*;

    #[test]
    fn what_is_missing_of_a_file_is_filled_and_what_is_there_stays() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 10_000]).unwrap();
        fill(&file, 10_000, &never).unwrap();
        begin_to_write(&file, &never);
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), REGION);
        assert!(bytes[..10_000].iter().all(|byte| *byte == 7));
        assert!(bytes[10_000..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn the_parts_of_a_region_are_all_of_it() {
        let mut end = 0;
        each_part(|part| {
            assert_eq!(part.start, end);
            end = part.end;
            Ok(())
        })
        .unwrap();
        assert_eq!(end, REGION);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_begins_to_write_a_file_of_a_region() {
        let file = tempfile::tempfile().unwrap();
        fill(&file, 0, &|| true).unwrap();
        assert!(begin(&file, &(0..PIECE)));
    }
}
