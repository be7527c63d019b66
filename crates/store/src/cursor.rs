//! The cursor of an export: the place of the last record given, as text that nobody has to understand.
//!
//! Hex of one version byte, the time in the store's unit, the id, and the first bytes of their SHA-256, which
//! tells a mangled cursor from a place where no record happens to be.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::StoreError;

const VERSION: u8 = 1;
const BODY: usize = 1 + 8 + 16;
const CHECK: usize = 8;

/// A place in the order of (time, id).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The record's time in the store's unit.
    pub(crate) time: i64,
    /// The record's id.
    pub(crate) id: Uuid,
}

pub(crate) fn encode(place: Place) -> String {
    let mut bytes = Vec::with_capacity(BODY + CHECK);
    bytes.push(VERSION);
    bytes.extend_from_slice(&place.time.to_be_bytes());
    bytes.extend_from_slice(place.id.as_bytes());
    let check = Sha256::digest(&bytes);
    bytes.extend(check.iter().take(CHECK));
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The place of that cursor; none for the start, which is no cursor or an empty one.
pub(crate) fn decode(cursor: Option<&str>) -> Result<Option<Place>, StoreError> {
    let Some(text) = cursor.filter(|text| !text.is_empty()) else { return Ok(None) };
    parse(text).map(Some).ok_or_else(|| {
        StoreError::invalid(
            "this is not a cursor of an export: take `nextCursor` of the last answer, or leave it empty",
        )
    })
}

fn parse(text: &str) -> Option<Place> {
    let digits = text.as_bytes();
    if digits.len() != (BODY + CHECK) * 2 {
        return None;
    }
    let bytes: Vec<u8> = digits
        .chunks_exact(2)
        .map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?))
        .collect::<Option<_>>()?;
    let (body, check) = bytes.split_at(BODY);
    if body[0] != VERSION || Sha256::digest(body).get(..CHECK) != Some(check) {
        return None;
    }
    Some(Place {
        time: i64::from_be_bytes(body[1..9].try_into().ok()?),
        id: Uuid::from_slice(&body[9..]).ok()?,
    })
}

// Lower case only: one place has one spelling.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn place() -> Place {
        Place { time: -5, id: Uuid::from_u128(7) }
    }

    #[test]
    fn a_cursor_comes_back_as_the_place_it_was_made_of() {
        assert_eq!(decode(Some(&encode(place()))).unwrap(), Some(place()));
    }

    #[test]
    fn no_cursor_and_an_empty_one_are_the_start() {
        assert_eq!(decode(None).unwrap(), None);
        assert_eq!(decode(Some("")).unwrap(), None);
    }

    #[test]
    fn every_single_changed_digit_is_noticed() {
        let good = encode(place());
        for at in 0..good.len() {
            let mut bad = good.clone().into_bytes();
            bad[at] = if bad[at] == b'0' { b'1' } else { b'0' };
            assert!(decode(Some(std::str::from_utf8(&bad).unwrap())).is_err(), "digit {at}");
        }
    }

    #[test]
    fn cut_long_and_foreign_text_is_refused() {
        let good = encode(place());
        for bad in [&good[1..], &format!("{good}0"), &good.to_uppercase(), "x", "é"] {
            assert!(matches!(decode(Some(bad)), Err(StoreError::Invalid { .. })), "{bad}");
        }
    }
}
