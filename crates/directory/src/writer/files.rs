//! The two files beside the store: records that it can never take, and records that it did not take in time.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use vllm_gateway_sdk::Record;

/// Both files in one folder. All calls block.
#[derive(Clone, Debug)]
pub(super) struct Files {
    folder: PathBuf,
}

/// The spill file, opened for shipping. New spills go to a new file.
pub(super) struct Spill {
    path: PathBuf,
    lines: BufReader<File>,
}

/// One line of the spill file.
pub(super) enum Spilled {
    Record(Box<Record>),
    /// Not a record: a line cut by a crash, or one that somebody else wrote.
    Unreadable(String),
}

impl Files {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn quarantine_path(&self) -> PathBuf {
        self.folder.join("quarantine.jsonl")
    }

    pub(super) fn spill_path(&self) -> PathBuf {
        self.folder.join("spill.jsonl")
    }

    /// Keeps records aside, each with why; on the disk when this returns.
    pub(super) fn quarantine(&self, poison: &[(&Record, &str)]) -> std::io::Result<()> {
        let lines: Vec<_> = poison
            .iter()
            .map(|(record, reason)| json!({ "reason": reason, "record": record }).to_string())
            .collect();
        self.append(&self.quarantine_path(), &lines)
    }

    /// Keeps a line aside that is no record.
    pub(super) fn quarantine_text(&self, text: &str, reason: &str) -> std::io::Result<()> {
        self.append(&self.quarantine_path(), &[json!({ "reason": reason, "text": text }).to_string()])
    }

    /// Keeps records for the next start; on the disk when this returns.
    pub(super) fn spill(&self, records: &[Record]) -> std::io::Result<()> {
        let lines: Vec<_> = records.iter().map(line).collect();
        self.append(&self.spill_path(), &lines)
    }

    /// Opens what runs before this one have spilled; none if they have not.
    pub(super) fn take_spill(&self) -> std::io::Result<Option<Spill>> {
        let path = self.folder.join("spill-shipping.jsonl");
        let left = self.spill_path();
        if !path.exists() {
            match std::fs::rename(&left, &path) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(Spill { lines: BufReader::new(File::open(&path)?), path }))
    }

    fn append(&self, path: &Path, lines: &[String]) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        let mut text = lines.join("\n");
        text.push('\n');
        file.write_all(text.as_bytes())?;
        file.sync_data()
    }
}

impl Spill {
    /// Up to so many lines; none at the end.
    pub(super) fn read(&mut self, most: usize) -> std::io::Result<Vec<Spilled>> {
        let mut found = Vec::new();
        let mut bytes = Vec::new();
        while found.len() < most && self.lines.read_until(b'\n', &mut bytes)? > 0 {
            let text = String::from_utf8_lossy(&bytes);
            found.push(match serde_json::from_str(&text) {
                Ok(record) => Spilled::Record(Box::new(record)),
                Err(_) => Spilled::Unreadable(text.trim_end().to_owned()),
            });
            bytes.clear();
        }
        Ok(found)
    }

    /// Everything in it has been shipped.
    pub(super) fn remove(&self) -> std::io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// The record as one line of JSON.
pub(super) fn line(record: &Record) -> String {
    serde_json::to_string(record).expect("a record has text keys and no map that could fail to serialise")
}
