//! What fuzzing asks of the local copy of the apps, and of keys: neither is taken for what it is not.
//!
//! libFuzzer calls these functions (`fuzz/`), and so does an ordinary test (`crates/fuzzing`). A checksum would keep
//! it from what lies behind, so an input of the second kind is sealed with the right one.

use jiff::Timestamp;

use super::{BootTime, file::age, format::Copied};
use crate::{
    entry::{AppEntry, KnownApp},
    key::digest_of_sent,
};

/// The first byte says whether the rest is the file itself (even), or what is sealed in it (odd).
pub fn apps_copy(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let read = match std::str::from_utf8(rest) {
        Ok(inner) if kind % 2 == 1 => Copied::of_text(Copied::seal(inner).as_bytes()),
        _ => Copied::of_text(rest),
    };
    let copied = match read {
        Ok(copied) => copied,
        Err(reason) => return assert!(!reason.is_empty()),
    };
    let text = copied.to_text().expect("it is made of what was read");
    assert_eq!(Copied::of_text(text.as_bytes()).as_ref(), Ok(&copied), "{text}");
    for now in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX, copied.synced] {
        let _ = age(&copied, now, BootTime::now().as_ref());
        let _ = age(&copied, now, None);
    }
    for app in copied.apps {
        let keys = app.keys.len();
        let (entry, entries) = AppEntry::of(app.clone(), None);
        assert_eq!(entries.len(), keys);
        let known: Option<KnownApp> = entry.known(&entries);
        assert_eq!(known, (keys > 0).then_some(app), "what is kept of an app is not what was read");
    }
}

/// The bytes as a key that a client sent.
pub fn key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let groups: Vec<&str> = text.split('-').collect();
    let is_hex = |group: &str| group.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
    let is_key = groups.len() == 7
        && groups[..2] == ["sk", "live"]
        && groups[2..].iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups[2..].iter().all(|group| is_hex(group));
    assert_eq!(digest_of_sent(text).is_some(), is_key, "{text}");
}
