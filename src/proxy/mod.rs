//! The way to an upstream and back: attempts, what is sent, what is let through.

mod answer;
mod asked;
mod attempts;
mod body;
mod bound;
mod continued;
mod copy;
mod dispatch;
mod early;
mod headers;
mod plan;
mod refusal;
mod wait;

pub(crate) use answer::is_event_stream;
pub(crate) use body::Leased;
pub(crate) use dispatch::{Answered, dispatch, dispatch_stored};
pub(crate) use early::EarlyBody;
