//! Reads what crosses the wire without taking it apart: request peek, splices, multipart, usage, streams.
//!
//! Everything here is synchronous and works on bytes as they come, in pieces of any size: no input or output,
//! no tasks, no clock. The gateway feeds it what it has just received and sends what it gives back.

pub mod edit;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
pub mod multipart;
pub mod peek;
pub mod response_id;
pub mod sse;
pub mod unary;
pub mod usage;
