//! The file beside the store: records that it can never take, and what is left of damaged ones.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use vllm_gateway_sdk::Record;

use crate::{folder, journal::Damaged};

/// The quarantine file. All calls block.
#[derive(Clone, Debug)]
pub(super) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn quarantine_path(&self) -> PathBuf {
        self.folder.join("quarantine.jsonl")
    }

    /// Keeps lines aside; on the disk when this returns.
    pub(super) fn quarantine(&self, lines: &[Value]) -> std::io::Result<()> {
        let mut text = String::new();
        for line in lines {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{line}");
        }
        folder::make(&self.folder)?;
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(self.quarantine_path())?;
        let length = file.metadata()?.len();
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        if written.is_err() {
            // Half a line must not stand in front of the next one.
            file.set_len(length)?;
        }
        written
    }
}

/// The line of a record that can never be stored.
pub(super) fn poison(record: &Record<&str>, reason: &str) -> Value {
    json!({ "reason": reason, "record": record })
}

/// The line of what cannot be read any more.
pub(super) fn damaged(damaged: &Damaged) -> Value {
    let mut bytes = String::with_capacity(2 * damaged.bytes.len());
    for byte in &damaged.bytes {
        let _ = write!(bytes, "{byte:02x}");
    }
    json!({ "reason": damaged.reason, "damaged": bytes })
}
