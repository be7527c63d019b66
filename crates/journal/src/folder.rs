//! The journal's folder: one file for each region, and a lock against a second gateway.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{
    area::{Area, Disk},
    gently::{self, InAHurry},
    layout::REGION,
    mapped::Mapped,
    salvage::{self, Salvaged},
};

/// Behind the number in a region's file name. It tells the layout, too: another layout has another ending.
const ENDING: &str = ".cells1";

/// A folder of the file system.
pub(crate) struct Folder {
    path: PathBuf,
}

/// Holds a folder against other processes, until this one ends or lets go of it.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Somebody else has it.
    #[error("another process has the journal in `{}`: give each gateway a folder of its own", .0.display())]
    Taken(PathBuf),
    /// The file system refuses.
    #[error("cannot open the journal in `{}`: {error}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Folder {
    /// Takes the folder, which is made if it is missing.
    pub(crate) fn lock(path: &Path) -> Result<(Self, Lock), JournalError> {
        let failed = |error| JournalError::Io { path: path.to_owned(), error };
        make(path).map_err(failed)?;
        let lock = options().open(path.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok((Self { path: path.to_owned() }, Lock { _file: lock })),
            Err(TryLockError::WouldBlock) => Err(JournalError::Taken(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    fn file(&self, number: u16) -> PathBuf {
        self.path.join(format!("{number:05}{ENDING}"))
    }

    /// Puts a file aside that cannot be read to its end, and has one in its place that holds what could be read of it.
    fn put_aside(&self, number: u16, salvaged: Salvaged) -> io::Result<File> {
        let Salvaged { bytes, lost, error } = salvaged;
        let unready = self.path.join("unready");
        let mut file = options().truncate(true).open(&unready)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        let aside = self.path.join(format!("{number:05}{ENDING}.unreadable"));
        fs::rename(self.file(number), &aside)?;
        fs::rename(&unready, self.file(number))?;
        File::open(&self.path)?.sync_all()?;
        tracing::error!(
            file = %self.file(number).display(),
            aside = %aside.display(),
            pages_lost = lost,
            pages = bytes.len() / salvage::PAGE,
            error = error.map(tracing::field::display),
            "the disk does not give back all of a file of the journal: records in the pages that are lost are lost, \
             unless the file that was put aside can be read elsewhere"
        );
        Ok(file)
    }

    /// Writes what the file holds once more, so that all of it takes its space.
    fn write_again(mut file: &File) -> io::Result<()> {
        use std::io::{Read, Seek};
        let mut bytes = vec![0; REGION];
        file.seek(io::SeekFrom::Start(0))?;
        file.read_exact(&mut bytes)?;
        file.seek(io::SeekFrom::Start(0))?;
        file.write_all(&bytes)?;
        file.sync_all()
    }

    /// Writes zeros from there to the end of the region, so that no later write can meet a full disk.
    fn fill(mut file: &File, from: u64, in_a_hurry: InAHurry<'_>) -> io::Result<()> {
        use std::io::Seek;
        file.seek(io::SeekFrom::Start(from))?;
        gently::fill(file, from, in_a_hurry)?;
        gently::begin_to_write(file, in_a_hurry);
        // Some file systems find out only now that there is no room.
        file.sync_all()
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<u16>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(ENDING)?.parse::<u16>().ok());
            // Another spelling of a number is not a file of this journal.
            numbers.extend(number.filter(|number| self.file(*number).file_name() == Some(&name)));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn open(&self, number: u16) -> io::Result<Box<dyn Area>> {
        let mut file = options().open(self.file(number))?;
        if let Some(salvaged) = salvage::read(&file) {
            file = self.put_aside(number, salvaged)?;
        }
        let length = file.metadata()?.len();
        if length < REGION as u64 {
            tracing::warn!(file = %self.file(number).display(), length, "a file of the journal was cut off");
            Self::fill(&file, length, &|| true)?;
        }
        // A copy that was made by a tool which saves space has holes. Writing to one on a full disk would end the
        // process, so it is not written to before the space is there.
        if has_holes(&file)? {
            Self::write_again(&file)?;
        }
        Ok(Box::new(Mapped::new(&file, self.file(number))?))
    }

    fn create(&self, number: u16, in_a_hurry: InAHurry<'_>) -> io::Result<Box<dyn Area>> {
        // A file without its whole space must never be taken for a region, so it gets its name last.
        let unready = self.path.join("unready");
        let file = options().truncate(true).open(&unready)?;
        if let Err(error) = Self::fill(&file, 0, in_a_hurry) {
            // What it took of a disk that is full, the store may need: the journal empties itself into it.
            let _ = fs::remove_file(&unready);
            return Err(error);
        }
        fs::rename(&unready, self.file(number))?;
        File::open(&self.path)?.sync_all()?;
        Ok(Box::new(Mapped::new(&file, self.file(number))?))
    }

    fn remove(&self, number: u16) -> io::Result<()> {
        fs::remove_file(self.file(number))
    }
}

/// Whether the file takes less space than it is long.
fn has_holes(file: &File) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // Counted in units of 512 bytes, whatever the file system's own are.
        Ok(file.metadata()?.blocks() * 512 < REGION as u64)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        Ok(false)
    }
}

/// Makes a folder, for the owner alone, where there is none.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// For the owner alone: records name people's organisations and addresses.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_for_which_the_disk_has_no_space_leaves_none_of_it_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _lock) = Folder::lock(folder.path()).unwrap();
        let unready = folder.path().join("unready");
        // Whatever is written there, the disk is full.
        std::os::unix::fs::symlink("/dev/full", &unready).unwrap();
        let refused = journal.create(0, &|| true).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert!(unready.symlink_metadata().is_err(), "it is removed");
        journal.create(0, &|| true).unwrap();
        assert_eq!(journal.list().unwrap(), [0]);
    }
}
