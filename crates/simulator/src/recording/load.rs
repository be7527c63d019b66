//! Reading a folder of recordings, and saying which of them were not taken.

use std::io;
use std::path::Path;

use super::{Recording, RecordingError, parse};

/// What a folder held.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The recordings, in the order of their names.
    pub recordings: Vec<Recording>,
    /// The files that are no single whole exchange.
    pub skipped: Vec<Skipped>,
}

/// A file that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file's name without its ending.
    pub name: String,
    /// Why.
    pub why: RecordingError,
}

/// Reads every `.txt` file of a folder.
pub fn load(folder: &Path) -> io::Result<Loaded> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)?
        .collect::<io::Result<Vec<_>>>()?
        .iter()
        .map(std::fs::DirEntry::path)
        .collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "txt"));
    paths.sort();
    let mut loaded = Loaded::default();
    for path in paths {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match parse(&name, &std::fs::read(&path)?) {
            Ok(recording) => loaded.recordings.push(recording),
            Err(why) => loaded.skipped.push(Skipped { name, why }),
        }
    }
    Ok(loaded)
}
