//! How many connections each listener may have, and what those hear for whom there is no room.

use salvo::http::StatusCode;
use vllm_gateway_config::ServerOptions;
use vllm_gateway_sdk::{Api, Error};

use crate::{descriptors::division, server::Limits};

const MESSAGE: &str = "the gateway has as many connections as it may: try again in a moment";

/// The bounds of the admin side: few, and out of what clients have no part in.
pub(super) fn admin() -> Limits {
    let division = division();
    Limits {
        listener: "admin",
        most: division.admin,
        most_per_client: None,
        shared: false,
        lingering: division.lingering,
        says: to_operators,
    }
}

/// The bounds for clients: what the configuration says, or the system, if that is less.
pub(super) fn data(server: &ServerOptions) -> Limits {
    let division = division();
    if server.max_connections > division.connections {
        tracing::warn!(
            open_files = division.all,
            clients = division.connections,
            "[server] max_connections is more than the limit of open files has room for: raise it (`ulimit -n`, `LimitNOFILE`)"
        );
    }
    Limits {
        listener: "data",
        most: server.max_connections,
        most_per_client: server.max_connections_per_client.map(Into::into),
        shared: true,
        lingering: division.lingering,
        says: to_clients,
    }
}

fn to_clients() -> Vec<u8> {
    let body = Error::unavailable("overloaded", MESSAGE).body(Api::OpenAi);
    let id = uuid::Uuid::new_v4().simple();
    answer(&format!("content-type: application/json\r\nx-request-id: {id}\r\n"), &body)
}

fn to_operators() -> Vec<u8> {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": StatusCode::SERVICE_UNAVAILABLE.as_u16(),
        "detail": MESSAGE,
    });
    answer("content-type: application/problem+json\r\n", &body.to_string())
}

fn answer(headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\n{headers}retry-after: 1\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
