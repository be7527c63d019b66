//! The HTTP/1.1 of the simulated server: the bytes that uvicorn reads and writes, nothing hidden.
//!
//! A general HTTP library would be shorter, but it spells answers its own way (chunk sizes in capitals,
//! HTTP/1.0 answered in HTTP/1.0, an empty 400 for what is not HTTP) and stands between a fault and the
//! socket. Here every byte is ours, so that a recorded answer can be played back as it came and a reset
//! or a torn chunk happens exactly where the script says.

mod answer;
mod body;
mod date;
mod head;
mod inbox;
mod wire;

pub(crate) use answer::{Answer, Common};
pub(crate) use body::{drain, read_body};
pub(crate) use head::{Framing, HeadError, RequestHead, read_head};
pub(crate) use inbox::Inbox;
pub(crate) use wire::{Interrupt, Wire};
