//! A file mapped into memory, which needs `unsafe`.
#![allow(unsafe_code)]

use std::{fs::File, io, path::PathBuf, sync::atomic::AtomicU64};

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};

use crate::{area::Area, gently, layout::REGION};

/// One region's file in memory. Every store to it is in the kernel's page cache at once: a kill of the process
/// takes nothing back.
pub(crate) struct Mapped {
    memory: MmapRaw,
    /// Where the file is found again: held open, each would count against what a process may have open.
    path: PathBuf,
}

impl Mapped {
    /// Maps the file, which must have at least the length of a region, its space taken. It can be closed after that.
    pub(crate) fn new(file: &File, path: PathBuf) -> io::Result<Self> {
        let length = file.metadata()?.len();
        if length < REGION as u64 {
            return Err(io::Error::other(format!("a region has {REGION} bytes, the file has {length}")));
        }
        let memory = MmapOptions::new().len(REGION).map_raw(file)?;
        Ok(Self { memory, path })
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
            std::slice::from_raw_parts(self.memory.as_ptr().cast::<AtomicU64>(), REGION / 8)
        }
    }

    fn sync(&self) -> io::Result<()> {
        // A help and no more: what may be amiss with the path, or the file behind it, does not concern the mapping.
        if let Ok(file) = File::open(&self.path) {
            gently::begin_to_write(&file, &gently::never);
        }
        self.memory.flush()
    }

    fn rest(&self) {
        let advised = gently::each_part(|part| {
            // SAFETY: of a shared mapping of a file, this gives up no more than the page table's entries. The pages with
            // what was put into them stay in the page cache, and come back at the next access.
            unsafe { self.memory.unchecked_advise_range(UncheckedAdvice::DontNeed, part.start, part.len()) }
        });
        if let Err(error) = advised {
            tracing::debug!(%error, "cannot let a full region of the journal rest");
        }
    }
}
