#![allow(clippy::unwrap_used)]

mod calls;
mod reading;
