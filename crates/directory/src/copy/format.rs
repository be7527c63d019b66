//! What stands in the file: JSON, with the SHA-256 of its inner part, byte for byte, in front.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use vllm_gateway_store::{AppKey, AppStatus, KeyDigest};

use super::BootTime;
use crate::entry::KnownApp;

/// The format that is written; another one is not read.
const FORMAT: u32 = 1;

/// The apps of a store, as they were when it was last heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copied {
    /// Which store, without anything secret.
    pub(super) store: String,
    /// What that store calls itself, if an earlier version did not write the copy, or before it was asked.
    pub(super) identity: Option<String>,
    /// When the store was last heard, by the wall clock and by the machine's own.
    pub(super) synced: Timestamp,
    pub(super) boot: Option<BootTime>,
    pub(super) apps: Vec<KnownApp>,
}

#[derive(Deserialize)]
struct Sealed<'a> {
    sha256: String,
    #[serde(borrow)]
    copy: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
struct Inner {
    format: u32,
    store: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    synced: Timestamp,
    boot: Option<BootTime>,
    apps: Vec<AppText>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AppText {
    id: String,
    org_name: String,
    status: AppStatus,
    expire_time: Option<Timestamp>,
    allowed_models: Option<Vec<String>>,
    version: u64,
    keys: Vec<KeyText>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyText {
    digest: String,
    prefix: String,
    valid_until: Option<Timestamp>,
}

impl Copied {
    pub(super) fn to_text(&self) -> std::io::Result<String> {
        let inner = Inner {
            format: FORMAT,
            store: self.store.clone(),
            identity: self.identity.clone(),
            synced: self.synced,
            boot: self.boot.clone(),
            apps: self.apps.iter().map(AppText::of).collect(),
        };
        Ok(Self::seal(&serde_json::to_string(&inner)?))
    }

    /// Puts the checksum in front.
    pub(super) fn seal(copy: &str) -> String {
        format!("{{\"sha256\":\"{}\",\"copy\":{copy}}}\n", hex(&Sha256::digest(copy)))
    }

    /// Reads it back, or says why it cannot be trusted.
    pub(super) fn of_text(text: &[u8]) -> Result<Self, String> {
        let sealed: Sealed<'_> =
            serde_json::from_slice(text).map_err(|error| format!("it is not whole ({error})"))?;
        if hex(&Sha256::digest(sealed.copy.get())) != sealed.sha256 {
            return Err("its checksum is wrong".to_owned());
        }
        let inner: Inner = serde_json::from_str(sealed.copy.get())
            .map_err(|error| format!("it is of another version of vllm-gateway ({error})"))?;
        if inner.format != FORMAT {
            return Err(format!("its format is {}, this vllm-gateway reads {FORMAT}", inner.format));
        }
        let Inner { store, identity, synced, boot, apps, .. } = inner;
        let apps = apps.into_iter().map(AppText::known).collect::<Option<_>>();
        let apps = apps.ok_or("it holds a digest that is none")?;
        Ok(Self { store, identity, synced, boot, apps })
    }
}

impl AppText {
    fn of(app: &KnownApp) -> Self {
        let key_of = |key: &AppKey| KeyText {
            digest: hex(key.digest.as_bytes()),
            prefix: key.prefix.clone(),
            valid_until: key.valid_until,
        };
        Self {
            id: app.id.clone(),
            org_name: app.org_name.clone(),
            status: app.status,
            expire_time: app.expire_time,
            allowed_models: app.allowed_models.clone(),
            version: app.version,
            keys: app.keys.iter().map(key_of).collect(),
        }
    }

    fn known(self) -> Option<KnownApp> {
        let key_of = |key: KeyText| {
            let digest = KeyDigest::from(unhex(&key.digest)?);
            Some(AppKey { digest, prefix: key.prefix, valid_until: key.valid_until })
        };
        Some(KnownApp {
            id: self.id,
            org_name: self.org_name,
            status: self.status,
            expire_time: self.expire_time,
            allowed_models: self.allowed_models,
            keys: self.keys.into_iter().map(key_of).collect::<Option<_>>()?,
            version: self.version,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn copied() -> Copied {
        let key = AppKey { digest: [7; 32].into(), prefix: "sk-live-01234567".into(), valid_until: None };
        let app = KnownApp {
            id: "one".into(),
            org_name: "Ácme \"quoted\"".into(),
            status: AppStatus::Disabled,
            expire_time: Some("2031-01-01T00:00:00Z".parse().unwrap()),
            allowed_models: Some(vec!["m".into()]),
            keys: vec![
                key.clone(),
                AppKey { digest: [8; 32].into(), valid_until: Some(Timestamp::UNIX_EPOCH), ..key },
            ],
            version: 3,
        };
        let synced = "2030-01-01T00:00:00.123Z".parse().unwrap();
        Copied {
            store: "mongodb a:1/b".into(),
            identity: Some("a name".into()),
            synced,
            boot: Some(BootTime::of_another_start()),
            apps: vec![app],
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(Copied::of_text(copied().to_text().unwrap().as_bytes()).unwrap(), copied());
    }

    #[test]
    fn what_an_earlier_version_wrote_is_read_without_the_name_of_its_store() {
        let copy = r#"{"format":1,"store":"s","synced":"2030-01-01T00:00:00Z","boot":null,"apps":[]}"#;
        let read = Copied::of_text(Copied::seal(copy).as_bytes()).unwrap();
        assert_eq!((read.store.as_str(), read.identity), ("s", None));
    }

    #[test]
    fn no_flipped_bit_is_trusted() {
        let text = copied().to_text().unwrap().into_bytes();
        for at in 0..text.len() * 8 {
            let mut flipped = text.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(Copied::of_text(&flipped).is_err(), "bit {at}: {}", String::from_utf8_lossy(&flipped));
        }
    }

    #[test]
    fn no_part_of_a_file_is_trusted() {
        let text = copied().to_text().unwrap().into_bytes();
        // Without the line's end it is still whole.
        for length in 0..text.len() - 1 {
            assert!(Copied::of_text(&text[..length]).is_err(), "the first {length} bytes");
        }
    }

    #[test]
    fn a_later_format_is_named() {
        let copy = r#"{"format":2,"store":"s","synced":"2030-01-01T00:00:00Z","boot":null,"apps":[]}"#;
        let text = format!(r#"{{"sha256":"{}","copy":{copy}}}"#, hex(&Sha256::digest(copy)));
        assert_eq!(
            Copied::of_text(text.as_bytes()).unwrap_err(),
            "its format is 2, this vllm-gateway reads 1"
        );
    }
}
