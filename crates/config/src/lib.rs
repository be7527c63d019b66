//! `gateway.toml`: from its text to a checked, built configuration, with every problem told in one run.
//!
//! [`Config::load`] reads and checks, [`Config`] is what comes of it, [`Diagnostic`] what is wrong. [`schema()`] and
//! [`reference`] are made from the same structs, so that they cannot say anything else than the code does.

mod build;
mod change;
mod config;
mod diagnostic;
mod document;
mod draft;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod load;
mod model;
mod options_value;
mod patterns;
mod picture;
pub mod reference;
mod report;
mod rules;
mod schema;
mod values;

pub use change::Change;
pub use config::{Config, PipelineConfig, Step};
pub use diagnostic::{Blocks, Diagnostic, Severity};
pub use load::Loaded;
pub use model::{
    AdminOptions, Balance, CorsOptions, DurationOrNever, EjectionOptions, EndpointOptions, EndpointsFile,
    HealthOptions, JournalOptions, MongodbOptions, PipelineOptions, QueueOptions, RetryOn, ServerOptions,
    SessionBy, SqliteOptions, StoreOptions, TlsOptions, UpstreamOptions, WhenAsleep,
};
pub use patterns::Pattern;
pub use picture::picture;
pub use schema::schema;
pub use values::{EndpointUrl, ListenAddr, Network, Origin};
