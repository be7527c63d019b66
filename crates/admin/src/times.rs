//! Times as RFC 3339 writes them, with an offset, and nothing looser.

use jiff::Timestamp;

/// The time, in whole milliseconds, which every store keeps; what is finer is cut off.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let wrong = || {
        "must be a time like 2030-01-31T12:00:00Z or 2030-01-31T12:00:00+08:00 (RFC 3339 with an offset)"
            .to_owned()
    };
    if !has_shape(text.as_bytes()) {
        return Err(wrong());
    }
    let time: Timestamp = text.parse().map_err(|_| wrong())?;
    whole_millis(time).ok_or_else(wrong)
}

/// Now, in whole milliseconds.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    whole_millis(now).unwrap_or(now)
}

fn whole_millis(time: Timestamp) -> Option<Timestamp> {
    Timestamp::from_millisecond(time.as_nanosecond().div_euclid(1_000_000).try_into().ok()?).ok()
}

/// Digits and marks are where RFC 3339 has them; whether they make a time, the parser says.
fn has_shape(text: &[u8]) -> bool {
    let Some((date_time, rest)) = text.split_at_checked(19) else { return false };
    let fits = |text: &[u8], pattern: &[u8]| {
        text.len() == pattern.len()
            && text.iter().zip(pattern).all(|(byte, mark)| match mark {
                b'0' => byte.is_ascii_digit(),
                b'T' => byte.eq_ignore_ascii_case(&b'T'),
                mark => byte == mark,
            })
    };
    let offset = match rest.strip_prefix(b".") {
        None => rest,
        Some(rest) => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return false;
            }
            rest.get(digits..).unwrap_or_default()
        }
    };
    fits(date_time, b"0000-00-00T00:00:00")
        && (offset.eq_ignore_ascii_case(b"Z") || fits(offset, b"+00:00") || fits(offset, b"-00:00"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::parse;

    #[test]
    fn times_with_an_offset_are_taken() {
        for good in [
            "2030-01-31T12:00:00Z",
            "2030-01-31T20:00:00+08:00",
            "2030-01-31t12:00:00.000000z",
            "2030-01-31T12:00:00.0009-00:00",
        ] {
            assert_eq!(parse(good).unwrap().to_string(), "2030-01-31T12:00:00Z", "{good}");
        }
    }

    #[test]
    fn anything_looser_is_refused() {
        let bad = [
            "",
            "2030-01-31",
            "2030-01-31T12:00:00",
            "2030-01-31 12:00:00Z",
            "2030-01-31T12:00Z",
            "2030-02-31T12:00:00Z",
            "2030-01-31T12:00:00+08",
            "2030-01-31T12:00:00Z[UTC]",
            "1900000000",
            "2030-01-31T12:00:00,5Z",
            "2030-01-31T25:00:00Z",
            "2030-01-31T12:00:00.Z",
            "+002030-01-31T12:00:00Z",
            "９０３０-01-31T12:00:00Z",
        ];
        for bad in bad {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
