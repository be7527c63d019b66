//! Faults as text, for command lines and the header: `reset-after=3`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Fault, Junk};

/// A text that names no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a fault: {why}")]
pub struct FaultError {
    text: String,
    why: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hang => write!(f, "hang"),
            Self::Reset => write!(f, "reset"),
            Self::Close => write!(f, "close"),
            Self::NotHttp => write!(f, "not-http"),
            Self::Delay(time) => write!(f, "delay={}us", time.as_micros()),
            Self::Status(status) => write!(f, "status={status}"),
            Self::HangAfter(events) => write!(f, "hang-after={events}"),
            Self::ResetAfter(events) => write!(f, "reset-after={events}"),
            Self::TruncateAfter(events) => write!(f, "truncate-after={events}"),
            Self::CutInside(events) => write!(f, "cut-inside={events}"),
            Self::GarbageAfter(events) => write!(f, "garbage-after={events}"),
            Self::EndAfter(events) => write!(f, "end-after={events}"),
            Self::ErrorAfter(events) => write!(f, "error-after={events}"),
            Self::AbortAfter(events) => write!(f, "abort-after={events}"),
            Self::Junk(junk, events) => write!(f, "junk={junk}@{events}"),
            Self::Split(bytes) => write!(f, "split={bytes}"),
            Self::SplitWrites(bytes) => write!(f, "split-writes={bytes}"),
            Self::Join(events) => write!(f, "join={events}"),
            Self::Drip(bytes, pause) => write!(f, "drip={bytes}:{}us", pause.as_micros()),
            Self::CloseAfterAnswer => write!(f, "close-after-answer"),
            Self::WrongLength(by) => write!(f, "wrong-length={by}"),
        }
    }
}

impl fmt::Display for Junk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSse => write!(f, "not-sse"),
            Self::BadUtf8 => write!(f, "bad-utf8"),
            Self::BadJson => write!(f, "bad-json"),
            Self::Bom => write!(f, "bom"),
            Self::HugeLine(size) => write!(f, "huge-line:{size}"),
        }
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        read(name.trim(), value.map(str::trim)).map_err(|why| FaultError { text: text.to_owned(), why })
    }
}

fn read(name: &str, value: Option<&str>) -> Result<Fault, &'static str> {
    let given = || value.ok_or("it needs a value, as in `reset-after=3`");
    let number = || given()?.parse().map_err(|_| "its value has to be a whole number");
    Ok(match name {
        "hang" => Fault::Hang,
        "reset" => Fault::Reset,
        "close" => Fault::Close,
        "not-http" => Fault::NotHttp,
        "delay" => Fault::Delay(duration(given()?)?),
        "status" => {
            let status = given()?.parse().ok().filter(|status| (400..600).contains(status));
            Fault::Status(status.ok_or("its value has to be a status from 400 to 599")?)
        }
        "hang-after" => Fault::HangAfter(number()?),
        "reset-after" => Fault::ResetAfter(number()?),
        "truncate-after" => Fault::TruncateAfter(number()?),
        "cut-inside" => Fault::CutInside(number()?),
        "garbage-after" => Fault::GarbageAfter(number()?),
        "end-after" => Fault::EndAfter(number()?),
        "error-after" => Fault::ErrorAfter(number()?),
        "abort-after" => Fault::AbortAfter(number()?),
        "junk" => {
            let (junk, events) = given()?.split_once('@').ok_or("its value looks like `bom@0`")?;
            let events = events.parse().map_err(|_| "after `@` comes the number of events before it")?;
            Fault::Junk(junk_named(junk)?, events)
        }
        "split" => Fault::Split(number()?),
        "split-writes" => Fault::SplitWrites(number()?),
        "join" => Fault::Join(number()?),
        "drip" => {
            let (bytes, pause) = given()?.split_once(':').ok_or("its value looks like `10:5ms`")?;
            let bytes = bytes.parse().map_err(|_| "before `:` comes the number of bytes")?;
            Fault::Drip(bytes, duration(pause)?)
        }
        "close-after-answer" => Fault::CloseAfterAnswer,
        "wrong-length" => {
            Fault::WrongLength(given()?.parse().map_err(|_| "its value has to be a whole number")?)
        }
        _ => return Err("no fault has this name"),
    })
}

fn junk_named(text: &str) -> Result<Junk, &'static str> {
    match text.split_once(':') {
        Some(("huge-line", size)) => {
            size.parse().map(Junk::HugeLine).map_err(|_| "after `huge-line:` comes a number of bytes")
        }
        None if text == "not-sse" => Ok(Junk::NotSse),
        None if text == "bad-utf8" => Ok(Junk::BadUtf8),
        None if text == "bad-json" => Ok(Junk::BadJson),
        None if text == "bom" => Ok(Junk::Bom),
        _ => Err("junk is one of not-sse, bad-utf8, bad-json, bom, huge-line:BYTES"),
    }
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    const WHY: &str = "a time looks like `200ms`, `3s` or `50us`";
    let unit = text.find(|letter: char| !letter.is_ascii_digit()).ok_or(WHY)?;
    let (digits, unit) = text.split_at(unit);
    let number = digits.parse().map_err(|_| WHY)?;
    match unit {
        "s" => Ok(Duration::from_secs(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "us" => Ok(Duration::from_micros(number)),
        _ => Err(WHY),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_printed_can_be_read() {
        for text in [
            "hang",
            "reset",
            "close",
            "not-http",
            "delay=200000us",
            "status=503",
            "hang-after=3",
            "reset-after=0",
            "truncate-after=1",
            "cut-inside=2",
            "garbage-after=3",
            "end-after=4",
            "error-after=5",
            "abort-after=6",
            "junk=huge-line:1048576@2",
            "junk=bad-utf8@1",
            "junk=bad-json@1",
            "junk=not-sse@1",
            "junk=bom@0",
            "split=5",
            "split-writes=7",
            "join=3",
            "drip=10:5000us",
            "close-after-answer",
            "wrong-length=-10",
        ] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_wrong_spelling_is_told_what_is_wrong() {
        let error = |text: &str| text.parse::<Fault>().unwrap_err().to_string();
        assert_eq!(error("explode"), "`explode` is not a fault: no fault has this name");
        assert_eq!(
            error("status=200"),
            "`status=200` is not a fault: its value has to be a status from 400 to 599"
        );
        assert!(error("reset-after").contains("needs a value"));
        assert!(error("delay=5").contains("a time looks like"));
    }
}
