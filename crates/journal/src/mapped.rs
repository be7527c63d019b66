//! A file mapped into memory, which needs `unsafe`.
#![allow(unsafe_code)]

use std::{fs::File, io, sync::atomic::AtomicU64};

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};

use crate::{area::Area, layout::REGION};

/// One region's file in memory. Every store to it is in the kernel's page cache at once: a kill of the process
/// takes nothing back.
pub(crate) struct Mapped(MmapRaw);

impl Mapped {
    /// Maps the file, which must have at least the length of a region, its space taken. It can be closed after that.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        if length < REGION as u64 {
            return Err(io::Error::other(format!("a region has {REGION} bytes, the file has {length}")));
        }
        MmapOptions::new().len(REGION).map_raw(file).map(Self)
    }
}

impl Area for Mapped {
    fn words(&self) -> &[AtomicU64] {
        // SAFETY:
        // - the mapping is readable and writable, REGION bytes long (`new` asks for that very length), and lives as
        //   long as `self`, to which the slice is bound; nothing unmaps or moves it before;
        // - a mapping begins at a page, so it is aligned for u64, and REGION is a multiple of eight;
        // - AtomicU64 has the size and the alignment of u64, and every bit pattern is one;
        // - all access in this process goes through this function, and so is atomic: there is no data race, whatever
        //   the callers do. Other processes are kept out by the folder's lock; one that does not keep to it changes
        //   values, which checksums find, and cannot break the type;
        // - the file's space is taken when it is made or opened; where it is not (a file system that compresses, or
        //   copies on write, and is full; a file that somebody shortens; a disk that fails to give a page back) the
        //   process ends by a signal, which is no undefined behaviour.
        #[expect(clippy::cast_ptr_alignment, reason = "a mapping begins at a page")]
        unsafe {
            std::slice::from_raw_parts(self.0.as_ptr().cast::<AtomicU64>(), REGION / 8)
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.flush()
    }

    fn rest(&self) {
        // SAFETY: of a shared mapping of a file, this gives up no more than the page table's entries. The pages with
        // what was put into them stay in the page cache, and come back at the next access.
        let advised = unsafe { self.0.unchecked_advise(UncheckedAdvice::DontNeed) };
        if let Err(error) = advised {
            tracing::debug!(%error, "cannot let a full region of the journal rest");
        }
    }
}
