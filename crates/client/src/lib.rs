//! The way to vLLM: an HTTP/1.1 client that sends what it is given, where it is told, and nothing else.
//!
//! It does what the gateway's request path needs and no more: a POST with a body that is there already or a GET, an answer
//! whose bytes are handed on as they come. There is no redirect, no retry, no proxy, no cookie and no decompression to
//! turn off, because there is none. No task and no channel stands between the socket and who reads the body: dropping
//! the future of a call, or the body of an answer, closes the connection at once, and vLLM ends the generation.
//!
//! - [`Origin`]: one server, and the connections to it that wait for their next use;
//! - [`Connector`]: how connections to it are made;
//! - [`Request`], [`send`], [`Response`], [`Body`]: one call.

mod body;
mod connect;
mod connection;
mod error;
mod framing;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod head;
mod origin;
mod pool;
mod request;
mod send;

pub use body::Body;
pub use connect::{Connector, TlsError};
pub use error::SendError;
pub use origin::{BadUrl, Origin};
pub use request::Request;
pub use send::{Response, send};

#[cfg(test)]
mod tests;
