//! The options of `gateway.toml`. Their doc comments are the reference that users read.

mod admin;
mod journal;
mod never;
mod pipeline;
mod server;
mod store;
mod upstream;

pub use admin::AdminOptions;
pub use journal::JournalOptions;
pub use never::DurationOrNever;
pub use pipeline::PipelineOptions;
pub use server::{CorsOptions, ServerOptions, TlsOptions};
pub use store::{MongodbOptions, SqliteOptions, StoreOptions};
pub use upstream::{
    Balance, EjectionOptions, EndpointOptions, EndpointsFile, HealthOptions, QueueOptions, RetryOn,
    SessionBy, UpstreamOptions, WhenAsleep,
};

use schemars::Schema;
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Value as Json, json};

/// Says in the schema of a table that this key must be given. To serde it has a default, so that a rule can tell of its
/// absence in better words.
fn required(key: &'static str) -> impl Fn(&mut Schema) {
    move |schema| {
        let option =
            schema.get_mut("properties").and_then(|all| all.get_mut(key)).and_then(Json::as_object_mut);
        if let Some(option) = option {
            option.remove("default");
        }
        schema.insert("required".to_owned(), json!([key]));
    }
}

/// A number of which none would make no sense.
fn at_least_one<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default + PartialEq>(
    input: D,
) -> Result<T, D::Error> {
    let number = T::deserialize(input)?;
    if number == T::default() { Err(D::Error::custom("must be 1 or more")) } else { Ok(number) }
}
