//! The gateway put together: what is in force now, how it starts, changes and ends.

mod adapters;
mod certificates;
mod copies;
mod current;
mod drain;
mod keys;
mod life;
mod lights;
mod limits;
mod membership;
mod reload;
mod runtime;
mod start;

pub(crate) use copies::{Copies, Room};
pub(crate) use current::Current;
pub(crate) use drain::{Drain, Running};
pub use life::Gateway;
pub(crate) use membership::Membership;
pub(crate) use reload::Reloader;
pub(crate) use runtime::Runtime;
#[cfg(feature = "fuzzing")]
pub(crate) use runtime::client_ip;
pub use start::StartError;
