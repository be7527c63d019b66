//! The suite against a MongoDB replica set: retryable writes, majority reads, causally consistent sessions.

#![allow(clippy::unwrap_used)]

mod suite;

use std::sync::{Arc, OnceLock};

use suite::fixture::Fixture;
use vllm_gateway_store::connect_mongodb;
use vllm_gateway_store::testing::{MongoOptions, MongoServer};

async fn open(test: &str) -> Fixture {
    static SERVER: OnceLock<MongoServer> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        MongoServer::start_own(MongoOptions { replica_set: true, ..MongoOptions::default() })
    });
    let database = server.database(test);
    let store = Arc::new(connect_mongodb(&server.uri, &database).await.unwrap());
    let other = Arc::new(connect_mongodb(&server.uri, &database).await.unwrap());
    Fixture { store, other, keep: Box::new(()) }
}

store_suite!(open);
