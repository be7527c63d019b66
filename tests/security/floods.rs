//! More than there is room for: of connections, in all and from one address, and of bodies. It is shed with 503, and what
//! is freed can be used again.

use std::{net::SocketAddr, time::Instant};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Duration, sleep, timeout},
};

use crate::support::{PATIENCE, Setup, Stage, chat, stage};

/// A connection from this address of loopback.
async fn from(ip: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((ip, 0))).unwrap();
    socket.connect(to).await.unwrap()
}

/// Status and body of the answer to a request on this connection, which is closed then.
async fn ask(mut socket: TcpStream, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let _ = socket.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default(), body.to_owned())
}

/// Asks until this is the status.
async fn until(ip: [u8; 4], to: SocketAddr, status: u16) {
    let begun = Instant::now();
    loop {
        let (got, text) = ask(from(ip, to).await, "/health").await;
        if got == status {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{got} instead of {status}: {text}");
        sleep(Duration::from_millis(5)).await;
    }
}

const HERE: [u8; 4] = [127, 0, 0, 1];

#[tokio::test]
async fn beyond_max_connections_clients_are_told_so_until_one_leaves() {
    let stage = Setup::server("max_connections = 4").start().await;
    let data = stage.gateway.data_address();
    // The stage's own client keeps a connection to the admin side only.
    let mut inside = Vec::new();
    for _ in 0..4 {
        inside.push(from(HERE, data).await);
    }
    until(HERE, data, 503).await;
    let (status, body) = ask(from(HERE, data).await, "/health").await;
    let error: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &error["error"]["code"]), (503, &json!("overloaded")));
    // Those that are in are served, and operators are not shut out.
    assert_eq!(ask(inside.pop().unwrap(), "/health").await.0, 200);
    let page = stage.admin(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let shed = "connections_shed_total{listener=\"data\",reason=\"max_connections\"}";
    assert!(page.contains(shed), "{page}");
    until(HERE, data, 200).await;
}

#[tokio::test]
async fn one_address_has_no_more_connections_than_it_may_and_the_next_has_its_own() {
    let stage = Setup::server("max_connections_per_client = 2").start().await;
    let data = stage.gateway.data_address();
    let inside = [from(HERE, data).await, from(HERE, data).await];
    until(HERE, data, 503).await;
    assert_eq!(ask(from([127, 0, 0, 2], data).await, "/health").await.0, 200);
    drop(inside);
    until(HERE, data, 200).await;
}

#[tokio::test]
async fn a_flood_of_the_admin_side_is_shed_too_and_apps_do_not_notice() {
    let stage = stage().await;
    let admin = stage.gateway.admin_address();
    let mut inside = Vec::new();
    let refused = loop {
        assert!(inside.len() < 400, "nobody was refused");
        let mut socket = from(HERE, admin).await;
        let mut answer = Vec::new();
        match timeout(Duration::from_millis(20), socket.read_to_end(&mut answer)).await {
            Ok(_) => break String::from_utf8_lossy(&answer).into_owned(),
            Err(_still_open) => inside.push(socket),
        }
    };
    assert!(
        refused.starts_with("HTTP/1.1 503 ") && refused.contains("application/problem+json"),
        "{refused}"
    );
    let body: Value = serde_json::from_str(refused.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&body["status"], body["detail"].is_string()), (&json!(503), true));
    assert_eq!(stage.chat(json!({})).await.status(), 200);
    drop(inside);
    let begun = Instant::now();
    while ask(from(HERE, admin).await, "/").await.0 != 200 {
        assert!(begun.elapsed() < PATIENCE);
    }
}

/// A client that has sent this much of a body of the largest size.
async fn uploading(stage: &Stage, sent: usize) -> TcpStream {
    let mut socket = TcpStream::connect(stage.gateway.data_address()).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        stage.key,
        1 << 20
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let begin = b"{\"x\":\"";
    socket.write_all(begin).await.unwrap();
    socket.write_all(&vec![b'y'; sent - begin.len()]).await.unwrap();
    socket
}

/// What there is to read now.
fn heard(socket: &TcpStream) -> String {
    let mut answer = [0; 4096];
    let read = socket.try_read(&mut answer).unwrap_or_default();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn bodies_beyond_the_budget_are_shed_and_what_was_taken_is_given_back() {
    let stage = Setup::server("max_body_size = \"1MiB\"\nbody_memory = \"2MiB\"").start().await;
    let large = chat(json!({"x": "y".repeat(900 << 10)}));
    let send = async || stage.post("/v1/chat/completions", &large).send().await;
    assert_eq!(send().await.unwrap().status(), 200);
    for _ in 0..3 {
        let mut uploads = Vec::new();
        for _ in 0..2 {
            uploads.push(uploading(&stage, 700 << 10).await);
        }
        // Whoever comes last is shed: that is a whole body, unless one of the uploads is still on its way.
        let begun = Instant::now();
        let mut said = String::new();
        while !said.contains("\"code\":\"overloaded\"") {
            said = match send().await {
                Ok(answer) if answer.status() == 503 => {
                    assert!(answer.headers().contains_key("retry-after"));
                    answer.text().await.unwrap()
                }
                Ok(answer) => {
                    assert_eq!(answer.status(), 200);
                    uploads.iter().map(heard).collect()
                }
                // It was answered and closed while this still sent.
                Err(_) => uploads.iter().map(heard).collect(),
            };
            assert!(begun.elapsed() < PATIENCE, "nobody was shed");
        }
        // A small one still fits.
        assert_eq!(stage.chat(json!({})).await.status(), 200);
        drop(uploads);
        stage.settled().await;
        assert_eq!(send().await.unwrap().status(), 200, "the budget did not come back");
    }
    let page = stage.admin_get("/api/logs?status=503").await;
    assert!(
        page["items"].as_array().unwrap().iter().all(|record| record["errorCode"] == "overloaded"),
        "{page}"
    );
}
