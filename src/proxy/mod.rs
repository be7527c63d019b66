//! The way to an upstream and back: attempts, what is sent, what is let through.

mod body;
mod dispatch;
mod headers;
mod plan;

pub(crate) use body::Leased;
pub(crate) use dispatch::{Answered, dispatch};
