//! Times as the stores keep them: whole microseconds or milliseconds, rounded the right way.

use jiff::Timestamp;

use crate::StoreError;

pub(crate) const MICROS_PER_HOUR: i64 = 3_600_000_000;
pub(crate) const MILLIS_PER_HOUR: i64 = 3_600_000;

const NANOS_PER_MICRO: i128 = 1_000;
const NANOS_PER_MILLI: i128 = 1_000_000;

/// Whole microseconds since 1970, rounded down (also before 1970).
pub(crate) fn micros(time: Timestamp) -> i64 {
    narrow(time.as_nanosecond().div_euclid(NANOS_PER_MICRO))
}

/// Whole microseconds since 1970, rounded up: for the open end of a range.
pub(crate) fn micros_up(time: Timestamp) -> i64 {
    narrow((time.as_nanosecond() + NANOS_PER_MICRO - 1).div_euclid(NANOS_PER_MICRO))
}

/// Whole milliseconds since 1970, rounded down.
pub(crate) fn millis(time: Timestamp) -> i64 {
    narrow(time.as_nanosecond().div_euclid(NANOS_PER_MILLI))
}

/// Whole milliseconds since 1970, rounded up.
pub(crate) fn millis_up(time: Timestamp) -> i64 {
    narrow((time.as_nanosecond() + NANOS_PER_MILLI - 1).div_euclid(NANOS_PER_MILLI))
}

fn narrow(units: i128) -> i64 {
    i64::try_from(units).expect("a timestamp lies within the years -9999 and 9999, far inside of 64 bits")
}

pub(crate) fn from_micros(micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|error| {
        StoreError::internal(format!("the store holds an impossible time ({micros} µs)")).because(error)
    })
}

pub(crate) fn from_millis(millis: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(millis).map_err(|error| {
        StoreError::internal(format!("the store holds an impossible time ({millis} ms)")).because(error)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_before_1970_are_rounded_down_too() {
        let time = Timestamp::from_nanosecond(-1).unwrap();
        assert_eq!((micros(time), micros_up(time), millis(time), millis_up(time)), (-1, 0, -1, 0));
    }

    #[test]
    fn whole_units_stay_as_they_are() {
        let time = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        assert_eq!(millis(time), millis_up(time));
        assert_eq!(from_millis(millis(time)).unwrap(), time);
        assert_eq!(from_micros(micros(time)).unwrap(), time);
    }
}
