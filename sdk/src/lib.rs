//! What a plugin of vllm-gateway is written against: the filter trait, the exchange, the engine.
//!
//! A plugin is one [`Filter`] with options. It runs on the request and may hand back a [`ResponseFilter`], a
//! small object that follows this one exchange to its end and is told of that end exactly once, whatever it
//! was. [`register!`] makes it known by name; `gateway.toml` decides where it stands and with which options.
//!
//! The plugins that come with the gateway are written against this crate and nothing else.

mod adapters;
mod answer;
mod apps;
mod body;
pub mod decode;
mod ending;
mod error;
mod events;
mod exchange;
mod facts;
mod filter;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod mask;
mod options;
mod pipeline;
mod plugin;
mod records;
mod reply;
mod response;
mod routes;
mod target;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use adapters::{Adapters, NoAdapters};
pub use answer::{AnswerReader, Choices, Fingerprint};
pub use apps::{Apps, Consumer, Lookup, NoApps};
pub use async_trait::async_trait;
pub use body::{BodyBudget, BodyLimits, IncomingBody, RequestBody};
pub use bytes::Bytes;
pub use ending::Ending;
pub use error::{Api, Error};
pub use events::Event;
pub use exchange::{Exchange, Incoming};
pub use facts::{Facts, RequestId, Tokens};
pub use filter::{Fact, Filter, Flow, ResponseFilter, Wants};
pub use options::{DurationText, SecretError, SecretRef, SizeText};
pub use pipeline::{Meter, Pipeline, Step};
pub use plugin::{BuildCx, BuildError, Built, Plugin, PluginDef, Services, plugin_named, plugins};
pub use records::{NoRecords, RecordSink, Room, Ticket};
pub use reply::{Head, Reply};
pub use response::{BrokenOff, Deadlines, ResponseBody, UpstreamBody};
pub use routes::{Answer, Generates, ModelPlace, Route, routes};
pub use target::{Fallback, Mirror, ModelOffer, Target};
pub use vllm_gateway_record::{Outcome, Progress, Record, RecordView, TokenSource};
pub use vllm_gateway_wire::peek::{Amount, Asked, Cost, List, Member, Peeked};
pub use {http, inventory, jiff, serde, toml};
