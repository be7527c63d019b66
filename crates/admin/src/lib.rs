//! The admin side over HTTP: apps and their keys, logs, usage, what is loaded, and the document of it all.
//!
//! Everything behind [`service`] is refused without the admin token, except the page at `/` (which holds nothing
//! and asks for the token itself) and, unless `metrics_auth` is set, `/metrics`. Every error is
//! `application/problem+json` and names the field at fault.

mod access;
mod answer;
mod api;
mod body;
mod fields;
mod gate;
mod hygiene;
mod model;
mod openapi;
mod page;
mod problem;
mod query;
mod service;
mod state;
mod text;
mod times;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use api::fuzz;
pub use service::service;
pub use state::{
    AdminCall, AdminState, ChangeRefused, Control, EndpointChange, EndpointState, ReloadDone, ShortToken,
    TokenDigest,
};
