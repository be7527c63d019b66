//! The way to an upstream and back: attempts, what is sent, what is let through.

mod answer;
mod attempts;
mod body;
mod copy;
mod dispatch;
mod early;
mod headers;
mod plan;
mod refusal;
mod wait;

pub(crate) use body::Leased;
pub(crate) use dispatch::{Answered, dispatch};
pub(crate) use early::EarlyBody;
