//! The way to an upstream and back: attempts, what is sent, what is let through.

mod answer;
mod asked;
mod attempts;
mod body;
mod bound;
mod continued;
mod dispatch;
mod headers;
mod plan;
mod refusal;
mod wait;

pub(crate) use body::Leased;
pub(crate) use dispatch::{Answered, dispatch, dispatch_stored, is_event_stream};
