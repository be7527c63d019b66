//! Keys: how they are minted, what they look like, what is kept of them.

use std::fmt;

use sha2::{Digest, Sha256};
use vllm_gateway_store::{AppKey, KeyDigest};

const START: &str = "sk-live-";
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
const PREFIX: usize = 16;

/// A whole key. It is shown once, by [`expose`](Self::expose); its `Debug` shows nothing.
pub struct Key(String);

impl Key {
    /// A new key: `sk-live-` and 128 random bits, written as 8-4-4-4-12 hex digits.
    ///
    /// Fails only when the system has no random numbers to give.
    pub fn mint() -> std::io::Result<Self> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self::of_bits(u128::from_be_bytes(bits)))
    }

    fn of_bits(bits: u128) -> Self {
        let hex = format!("{bits:032x}");
        let mut text = String::with_capacity(START.len() + 36);
        text.push_str(START);
        let mut rest = hex.as_str();
        for (at, length) in GROUPS.into_iter().enumerate() {
            if at > 0 {
                text.push('-');
            }
            let (group, tail) = rest.split_at(length);
            text.push_str(group);
            rest = tail;
        }
        Self(text)
    }

    /// The key itself, for the one who asked for it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its first characters: enough to tell keys apart and no more.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0[..PREFIX]
    }

    /// What a store keeps of it, as an app's current key.
    #[must_use]
    pub fn stored(&self) -> AppKey {
        AppKey { digest: digest(&self.0), prefix: self.prefix().to_owned(), valid_until: None }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The digest of what a client sent; `None` if it cannot be a key, whoever asks.
pub(crate) fn digest_of_sent(text: &str) -> Option<KeyDigest> {
    is_well_formed(text).then(|| digest(text))
}

fn digest(key: &str) -> KeyDigest {
    KeyDigest::from(<[u8; 32]>::from(Sha256::digest(key)))
}

fn is_well_formed(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(START) else { return false };
    let mut groups = rest.split('-');
    GROUPS.into_iter().all(|length| groups.next().is_some_and(|group| group.len() == length && is_hex(group)))
        && groups.next().is_none()
}

fn is_hex(group: &str) -> bool {
    group.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_is_written_as_the_documents_say() {
        let key = Key::of_bits(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        assert_eq!(key.expose(), "sk-live-01234567-89ab-cdef-0011-223344556677");
        assert_eq!(key.prefix(), "sk-live-01234567");
        assert_eq!(key.stored().prefix, "sk-live-01234567");
    }

    #[test]
    fn two_minted_keys_differ_and_are_well_formed() {
        let (one, two) = (Key::mint().unwrap(), Key::mint().unwrap());
        assert_ne!(one.expose(), two.expose());
        assert_eq!(digest_of_sent(one.expose()), Some(one.stored().digest));
    }

    #[test]
    fn debug_shows_nothing_of_a_key() {
        assert_eq!(format!("{:?}", Key::of_bits(7)), "***");
    }

    #[test]
    fn what_cannot_be_a_key_is_not_even_hashed() {
        let good = Key::of_bits(7).0;
        let upper = format!("{START}{}", Key::of_bits(u128::MAX).0[START.len()..].to_uppercase());
        let long = format!("{good}0");
        let more = format!("{good}-0");
        for bad in ["", "sk-live-", &good[..good.len() - 1], &long, &more, &upper, &good[1..], "sk-live-é"] {
            assert!(digest_of_sent(bad).is_none(), "{bad}");
        }
    }
}
