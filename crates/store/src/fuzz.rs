//! What fuzzing asks of cursors, which come from outside: each is of one place, and has one spelling.
//!
//! libFuzzer calls this (`fuzz/`), and so does an ordinary test (`crates/fuzzing`).

use uuid::Uuid;

use crate::cursor::{Place, decode, encode};

/// The bytes as a cursor, and the first of them as a place.
pub fn cursor(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(Some(place)) = decode(Some(text))
    {
        assert_eq!(encode(place), text, "one place has two spellings");
    }
    if let Some((time, rest)) = data.split_first_chunk::<8>()
        && let Some((id, rest)) = rest.split_first_chunk::<16>()
    {
        let place = Place { time: i64::from_be_bytes(*time), id: Uuid::from_bytes(*id) };
        let text = encode(place);
        assert!(matches!(decode(Some(&text)), Ok(Some(read)) if read == place), "{text}");
        // One byte of the cursor is another: nobody takes it for a cursor.
        if let [at, byte, ..] = rest {
            let mut bytes = text.clone().into_bytes();
            let at = usize::from(*at) % bytes.len();
            bytes[at] = byte & 0x7F;
            let other = String::from_utf8(bytes).expect("still ASCII");
            assert!(other == text || decode(Some(&other)).is_err(), "{other}");
        }
    }
}

/// A cursor as an export gives it.
#[must_use]
pub fn cursor_seeds() -> Vec<Vec<u8>> {
    let place = Place { time: 1_795_409_857_000_000, id: Uuid::from_u128(7) };
    vec![
        encode(place).into_bytes(),
        [&place.time.to_be_bytes()[..], place.id.as_bytes(), &[3, b'a']].concat(),
    ]
}
