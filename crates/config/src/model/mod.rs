//! The options of `gateway.toml`. Their doc comments are the reference that users read.

mod admin;
mod pipeline;
mod server;
mod store;
mod upstream;

pub use admin::AdminOptions;
pub use pipeline::PipelineOptions;
pub use server::{CorsOptions, ServerOptions, TlsOptions};
pub use store::{MongodbOptions, SqliteOptions, StoreOptions};
pub use upstream::{Balance, EndpointOptions, UpstreamOptions};

use serde::{Deserialize, Deserializer, de::Error};

/// A number of which none would make no sense.
fn at_least_one<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default + PartialEq>(
    input: D,
) -> Result<T, D::Error> {
    let number = T::deserialize(input)?;
    if number == T::default() { Err(D::Error::custom("must be 1 or more")) } else { Ok(number) }
}
