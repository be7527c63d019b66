//! Requests that two readers could take apart differently, as raw bytes, on both listeners. Behind each waits a second
//! request: whoever reads the first one wrongly carries it out.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{Stage, chat, stage};

/// Long enough for a busy machine, and shorter than any of the listener's own deadlines.
const SOON: Duration = Duration::from_secs(8);

/// Where requests are sent, and what is sent there.
struct Place {
    address: SocketAddr,
    /// The request's line and the headers that it needs, without its framing.
    head: String,
    body: String,
    /// A whole request that must not be carried out.
    second: String,
}

impl Place {
    fn data(stage: &Stage) -> Self {
        let key = &stage.key;
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        );
        let address = stage.gateway.data_address();
        Self::new(address, head, chat(json!({})).to_string(), &chat(json!({})).to_string())
    }

    fn admin(stage: &Stage) -> Self {
        let token = stage.token();
        let head = format!(
            "POST /api/apps HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        );
        let address = stage.gateway.admin_address();
        Self::new(address, head, r#"{"orgName":"first"}"#.into(), r#"{"orgName":"smuggled"}"#)
    }

    fn new(address: SocketAddr, head: String, body: String, second: &str) -> Self {
        let length = second.len();
        let second = format!(
            "{head}X-Request-Id: smuggled\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{second}"
        );
        Self { address, head, body, second }
    }

    /// With this framing and this body, and the second request behind it.
    fn framed(&self, framing: &str, body: &str) -> Vec<u8> {
        format!("{}{framing}\r\n\r\n{body}{}", self.head, self.second).into_bytes()
    }

    /// The answers' statuses, and whether the connection was closed then.
    async fn talk(&self, bytes: &[u8]) -> (Vec<String>, bool) {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let _ = socket.write_all(bytes).await;
        let mut answer = Vec::new();
        let closed = timeout(SOON, socket.read_to_end(&mut answer)).await.is_ok();
        let text = String::from_utf8_lossy(&answer).into_owned();
        let statuses = text.split("HTTP/1.1 ").skip(1).map(|rest| rest[..3].to_owned());
        (statuses.collect(), closed)
    }
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

/// Framings that have no one meaning: 400, and nothing more is read from there.
fn ambiguous(place: &Place) -> Vec<(&'static str, Vec<u8>)> {
    let (body, chunks, length) = (&place.body, chunked(&place.body), place.body.len());
    let te = "Transfer-Encoding";
    vec![
        ("two lengths", place.framed(&format!("Content-Length: {length}\r\nContent-Length: 1"), body)),
        ("a list of lengths", place.framed(&format!("Content-Length: {length}, {length}"), body)),
        ("a length with a sign", place.framed(&format!("Content-Length: +{length}"), body)),
        ("a negative length", place.framed("Content-Length: -1", body)),
        ("a length in hexadecimal", place.framed("Content-Length: 0x10", body)),
        ("an empty length", place.framed("Content-Length:", body)),
        ("a length beyond counting", place.framed("Content-Length: 99999999999999999999", body)),
        ("chunked twice", place.framed(&format!("{te}: chunked\r\n{te}: chunked"), &chunks)),
        ("chunked twice in one", place.framed(&format!("{te}: chunked, chunked"), &chunks)),
        ("gzip and chunked", place.framed(&format!("{te}: gzip, chunked"), &chunks)),
        ("chunked and gzip", place.framed(&format!("{te}: chunked, gzip"), &chunks)),
        ("identity", place.framed(&format!("{te}: identity"), &chunks)),
        ("almost chunked", place.framed(&format!("{te}: xchunked"), &chunks)),
        ("chunked with a parameter", place.framed(&format!("{te}: chunked;q=1"), &chunks)),
        ("chunked behind a control", place.framed(&format!("{te}: \x0bchunked"), &chunks)),
        ("a space before the colon", place.framed(&format!("{te} : chunked"), &chunks)),
        ("a length with a space before the colon", place.framed("Content-Length : 5", body)),
        ("a folded line", place.framed(&format!("X-A: b\r\n c\r\nContent-Length: {length}"), body)),
        ("a folded encoding", place.framed(&format!("{te}:\r\n chunked"), &chunks)),
        ("a line that begins with a space", place.framed(&format!(" {te}: chunked"), &chunks)),
        ("a bare CR", place.framed(&format!("X-A: b\rContent-Length: 5\r\nContent-Length: {length}"), body)),
        ("a NUL", place.framed(&format!("X-A: \0\r\nContent-Length: {length}"), body)),
        ("no name", place.framed(&format!(": b\r\nContent-Length: {length}"), body)),
        ("no colon", place.framed(&format!("X-A\r\nContent-Length: {length}"), body)),
        (
            "a size beyond counting",
            place.framed(&format!("{te}: chunked"), "fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
        ),
        ("a size with a sign", place.framed(&format!("{te}: chunked"), "+2\r\n{}\r\n0\r\n\r\n")),
        ("a size in C", place.framed(&format!("{te}: chunked"), "0x2\r\n{}\r\n0\r\n\r\n")),
        ("no size", place.framed(&format!("{te}: chunked"), "\r\n{}\r\n0\r\n\r\n")),
        ("a chunk longer than its size", place.framed(&format!("{te}: chunked"), "1\r\n{}\r\n0\r\n\r\n")),
        ("doubled hosts", place.framed(&format!("Host: b\r\nContent-Length: {length}"), body)),
    ]
}

#[tokio::test]
async fn an_ambiguous_request_gets_400_and_what_stands_behind_it_is_not_read() {
    let stage = stage().await;
    for place in [Place::data(&stage), Place::admin(&stage)] {
        for (what, bytes) in ambiguous(&place) {
            let (statuses, closed) = place.talk(&bytes).await;
            assert_eq!((statuses, closed), (vec!["400".to_owned()], true), "{what} at {}", place.address);
        }
    }
    nothing_was_smuggled(&stage).await;
    assert_eq!(stage.vllm.requests().len(), 0);
}

/// What a standard lets a server read one way: then it reads it that way, and closes.
#[tokio::test]
async fn a_length_beside_chunks_counts_for_nothing_and_ends_the_connection() {
    let stage = stage().await;
    for place in [Place::data(&stage), Place::admin(&stage)] {
        let (chunks, length) = (chunked(&place.body), place.body.len());
        let framings = [
            format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"),
            format!("Transfer-Encoding: chunked\r\nContent-Length: {length}"),
            "Content-Length: 4\r\nTransfer-Encoding: chunked".to_owned(),
            "X-A: b\nTransfer-Encoding: chunked\r\nContent-Length: 4".to_owned(),
        ];
        for framing in framings {
            let (statuses, closed) = place.talk(&place.framed(&framing, &chunks)).await;
            assert!(matches!(&*statuses.concat(), "200" | "201" | "400"), "{framing}: {statuses:?}");
            assert!(closed, "{framing}");
        }
        let (statuses, closed) =
            place.talk(&place.framed("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n")).await;
        assert_eq!((statuses, closed), (vec!["400".to_owned()], true));
    }
    nothing_was_smuggled(&stage).await;
}

#[tokio::test]
async fn a_target_that_is_no_path_leads_nowhere() {
    let stage = stage().await;
    let end = "Host: a\r\nConnection: close\r\n\r\n";
    for place in [Place::data(&stage), Place::admin(&stage)] {
        for (line, status) in [
            ("GET a:80 HTTP/1.1", "400"),
            ("OPTIONS * HTTP/1.1", "400"),
            // To the admin side a target without a path is none, whatever the method; with one it is a wrong method.
            ("CONNECT a:80 HTTP/1.1", "400 405"),
            ("CONNECT /health HTTP/1.1", "401 405"),
            ("TRACE /health HTTP/1.1", "401 405"),
            ("GET /a b HTTP/1.1", "400"),
            ("GET  / HTTP/1.1", "400"),
            ("GET / HTTP/1.2", "400"),
            ("GET / HTTP/2.0", "400"),
            ("GET /", "400"),
            ("G@T / HTTP/1.1", "400"),
            ("PRI * HTTP/2.0", "400"),
        ] {
            let (statuses, closed) = place.talk(format!("{line}\r\n{end}").as_bytes()).await;
            // Where it is not even HTTP, nothing may be said.
            assert!(
                statuses.is_empty() || (statuses.len() == 1 && status.contains(&*statuses[0])),
                "{line}: {statuses:?} at {}",
                place.address
            );
            assert!(closed, "{line}");
        }
        for host in [
            "",
            "Host:\r\n",
            "Host: a b\r\n",
            "Host: a,b\r\n",
            "Host: a/b\r\n",
            "Host: u@a\r\n",
            "Host: a\r\nHost: a\r\n",
        ] {
            let path = if place.address == stage.gateway.data_address() { "/health" } else { "/" };
            let (statuses, _) = place
                .talk(format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n").as_bytes())
                .await;
            assert_eq!(statuses, ["400"], "{host:?} at {}", place.address);
        }
    }
}

/// As some load balancers ask.
#[tokio::test]
async fn a_probe_that_speaks_http_1_0_needs_no_host() {
    let stage = stage().await;
    let answer = stage.raw(b"GET /health HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 ") || answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let doubled = stage.raw(b"GET /health HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n").await;
    assert!(doubled.contains(" 400 "), "{doubled}");
}

#[tokio::test]
async fn an_absolute_target_goes_where_the_configuration_says() {
    let stage = stage().await;
    let place = Place::data(&stage);
    let head = place.head.replace("POST /v1", "POST http://169.254.169.254/v1");
    let length = place.body.len();
    let request = format!("{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{}", place.body);
    let (statuses, _) = place.talk(request.as_bytes()).await;
    assert_eq!(statuses, ["200"]);
    let seen = stage.vllm.requests().remove(0);
    assert_eq!(
        (&*seen.path, seen.header("host")),
        ("/v1/chat/completions", Some(&*stage.vllm.addr.to_string()))
    );
}

#[tokio::test]
async fn an_upgrade_is_not_taken_and_opens_no_tunnel() {
    let stage = stage().await;
    for place in [Place::data(&stage), Place::admin(&stage)] {
        for upgrade in ["h2c", "websocket", "TLS/1.0"] {
            let framing = format!(
                "Connection: upgrade, close\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nContent-Length: {}",
                place.body.len()
            );
            let (statuses, closed) = place.talk(&place.framed(&framing, &place.body)).await;
            assert!(matches!(&*statuses.concat(), "200" | "201"), "{upgrade}: {statuses:?}");
            assert!(closed);
        }
    }
    nothing_was_smuggled(&stage).await;
}

#[tokio::test]
async fn what_comes_behind_the_last_chunk_is_dropped() {
    let stage = stage().await;
    let place = Place::data(&stage);
    let trailers =
        "0\r\nX-Vllm-Priority: 9\r\nTraceparent: from-a-trailer\r\nX-Session-Id: from-a-trailer\r\n\r\n";
    let body = chunked(&place.body).replace("0\r\n\r\n", trailers);
    let framing = "Trailer: X-Vllm-Priority\r\nConnection: close\r\nTransfer-Encoding: chunked";
    let request = format!("{}{framing}\r\n\r\n{body}", place.head);
    assert_eq!(place.talk(request.as_bytes()).await.0, ["200"]);
    let head = String::from_utf8_lossy(&stage.vllm.requests()[0].head).to_ascii_lowercase();
    assert!(!head.contains("trailer") && !head.contains("priority"), "{head}");
}

/// Hygiene comes first: without a key, and with one, a request that is badly framed gets the same answer.
#[tokio::test]
async fn hygiene_is_asked_before_credentials() {
    let stage = stage().await;
    for place in [Place::data(&stage), Place::admin(&stage)] {
        for line in
            ["GET //v1/models", "GET /%61pi/apps", "GET /v1/../api/apps", "GET /api/apps;x", "GET /api\\apps"]
        {
            for credential in
                ["", "Authorization: Bearer wrong\r\n", "Authorization: a\r\nAuthorization: b\r\n"]
            {
                let request = format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{credential}\r\n");
                let (statuses, _) = place.talk(request.as_bytes()).await;
                assert_eq!(statuses, ["400"], "{line} {credential:?} at {}", place.address);
            }
        }
        let encoded = "POST /api/apps HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(place.talk(encoded.as_bytes()).await.0, ["415"], "{}", place.address);
    }
}

async fn nothing_was_smuggled(stage: &Stage) {
    let seen = stage.vllm.requests();
    assert!(seen.iter().all(|seen| seen.header("x-request-id") != Some("smuggled")), "it reached vLLM");
    let apps = stage.admin_get("/api/apps?orgName=smuggled").await;
    assert_eq!(apps["total"], 0, "it reached the admin side");
    assert_eq!(stage.admin_get("/api/logs?requestId=smuggled").await["total"], 0, "it was read");
}
