//! The listeners. Only here, and in the admin crate, is salvo known.

mod control;
mod data;
mod door;
mod entry;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod hygiene;
mod listener;
mod models;
mod patience;
mod reception;
mod sent;
mod serving;
mod threads;
mod unhurried;

pub(crate) use control::GatewayControl;
pub(crate) use data::{DataPlane, Routed};
pub(crate) use door::Limits;
pub(crate) use listener::{Bound, Destination, Manner, bind, serve, serve_on_threads};
pub(crate) use serving::Serving;

use std::net::{IpAddr, Ipv4Addr};

use salvo::cors::{AllowOrigin, CallNext, Cors, CorsHandler};
use vllm_gateway_config::CorsOptions;

/// The address of a client, which on a port of TCP always has one.
fn ip_of(peer: &salvo::conn::SocketAddr) -> IpAddr {
    peer.clone().into_std().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip())
}

/// Lets the pages of these origins call the data plane from a browser.
pub(crate) fn cors(options: &CorsOptions) -> CorsHandler {
    let any = options.origins.iter().any(|origin| origin == "*");
    let origins = if any {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(options.origins.iter().filter_map(|origin| origin.parse().ok()))
    };
    let cors = Cors::new()
        .allow_origin(origins)
        .allow_methods(vec![http::Method::GET, http::Method::POST])
        .allow_headers(vec![
            "authorization",
            "content-type",
            "x-api-key",
            "x-request-id",
            "anthropic-version",
        ])
        .expose_headers(vec!["x-request-id", "retry-after"])
        .max_age(600);
    // It answers a preflight and leaves the rest to the data plane, which has no word for OPTIONS.
    CorsHandler::new(cors, CallNext::After)
}
