//! Everything that waits for a client or an upstream has a deadline. These run at the deadlines that are shipped; most of
//! them side by side, so that they take as long as the longest.

use std::{
    io::Write as _,
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use vllm_gateway_simulator::{Options, Speed, Tasks};

use crate::support::{MODEL, PIPELINE, Setup, chat, fast, stage};

/// How long after its deadline something may end on a busy machine.
const SLACK: Duration = Duration::from_secs(6);

/// Sends these bytes, then one byte of `drip` each half second, until the other side closes: how long that took, and
/// what it said.
async fn outlast(address: SocketAddr, bytes: &[u8], drip: Option<u8>) -> (Duration, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let begun = Instant::now();
    socket.write_all(bytes).await.unwrap();
    let (mut from, mut to) = socket.split();
    let dripping = async {
        let Some(byte) = drip else { return std::future::pending::<()>().await };
        while to.write_all(&[byte]).await.is_ok() {
            sleep(Duration::from_millis(500)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    let ended = async {
        tokio::select! {
            _ = from.read_to_end(&mut answer) => {}
            () = dripping => {}
        }
    };
    timeout(Duration::from_secs(60), ended).await.expect("it waits for ever");
    (begun.elapsed(), String::from_utf8_lossy(&answer).into_owned())
}

fn in_time(what: &str, took: Duration, deadline: u64) {
    let deadline = Duration::from_secs(deadline);
    assert!(took + Duration::from_millis(700) >= deadline, "{what} ended after {took:?} already");
    assert!(took <= deadline + SLACK, "{what} ended after {took:?}");
}

/// On both listeners: a head 15 s, a gap in a body 20 s, a whole body `body_timeout` or an operator's 10 s, a handshake 10 s.
#[tokio::test]
async fn what_a_client_does_not_send_is_waited_for_until_its_deadline() {
    tokio::join!(
        heads_that_do_not_come(),
        bodies_that_do_not_come(),
        operators_bodies_that_do_not_come(),
        handshakes_that_do_not_come(),
    );
}

async fn heads_that_do_not_come() {
    let stage = stage().await;
    let begin = b"GET /health HTTP/1.1\r\nHost: a\r\nX-Slow: ";
    let [data, admin] = [stage.gateway.data_address(), stage.gateway.admin_address()];
    let all = tokio::join!(
        outlast(data, b"", None),
        outlast(admin, b"", None),
        outlast(data, begin, Some(b'a')),
        outlast(admin, begin, Some(b'a')),
        // And the second head on a connection that was kept.
        outlast(data, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /heal", Some(b't')),
        a_connection_between_two_requests_is_kept(data),
    );
    for (what, (took, _)) in
        [("data", all.0), ("admin", all.1), ("drip", all.2), ("admin's drip", all.3), ("the second", all.4)]
    {
        in_time(what, took, 15);
    }
    assert_eq!(stage.chat(json!({})).await.status(), 200);
}

/// Load balancers and clients keep connections, and are not to find them closed when they use one again.
async fn a_connection_between_two_requests_is_kept(address: SocketAddr) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let mut answer = [0; 4096];
    for pause in [Duration::ZERO, Duration::from_secs(20)] {
        let silent = timeout(pause, socket.read(&mut answer)).await;
        assert!(silent.is_err(), "it was closed: {silent:?}");
        socket.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let read = socket.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200 "), "{}", answer[..read].escape_ascii());
    }
}

async fn bodies_that_do_not_come() {
    let slow = Setup::server("body_timeout = \"3s\"").start().await;
    let stage = stage().await;
    let begin = |key: &str| {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{\"x\":\""
        )
    };
    let (here, there) = (begin(&stage.key), begin(&slow.key));
    let (gap, drip) = tokio::join!(
        outlast(stage.gateway.data_address(), here.as_bytes(), None),
        outlast(slow.gateway.data_address(), there.as_bytes(), Some(b'y')),
    );
    for (what, (took, answer), deadline) in [("the gap", gap, 20), ("the drip", drip, 3)] {
        in_time(what, took, deadline);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{what}: {answer}");
    }
    assert_eq!(stage.vllm.requests().len() + slow.vllm.requests().len(), 0);
}

async fn operators_bodies_that_do_not_come() {
    let stage = stage().await;
    let request = format!(
        "POST /api/apps HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 1000\r\n\r\n{{\"orgName\":\"",
        stage.token()
    );
    let admin = stage.gateway.admin_address();
    let all = tokio::join!(
        outlast(admin, request.as_bytes(), None),
        outlast(admin, request.as_bytes(), Some(b'y'))
    );
    for (took, answer) in [all.0, all.1] {
        in_time("the body", took, 10);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
}

#[tokio::test]
async fn an_operators_body_of_more_than_64_kib_is_413() {
    let stage = stage().await;
    let large = json!({"orgName": "x".repeat(70 << 10)}).to_string();
    let declared = stage.admin(reqwest::Method::POST, "/api/apps").body(large.clone());
    assert_eq!(declared.send().await.unwrap().status(), 413);
    let mut chunked = format!(
        "POST /api/apps HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        stage.token(),
        large.len()
    )
    .into_bytes();
    write!(chunked, "{large}\r\n0\r\n\r\n").unwrap();
    let answer = crate::support::raw(stage.gateway.admin_address(), &chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

async fn handshakes_that_do_not_come() {
    let tls = format!(
        "tls = {{ cert = \"{0}/cert.pem\", key = \"{0}/key.pem\" }}",
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls")
    );
    // The first record of a handshake says how long it is, and then does not come.
    let hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01];
    let folder = tempfile::TempDir::new().unwrap();
    let config = PIPELINE.replace("{vllm}", "http://127.0.0.1:9");
    let listen = format!("listen = \"127.0.0.1:0\"\n{tls}\n");
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, format!("[server]\n{listen}[admin]\n{listen}{config}")).unwrap();
    let gateway = vllm_gateway::Gateway::start(&file).await.unwrap();
    let all = tokio::join!(
        outlast(gateway.data_address(), &hello, None),
        outlast(gateway.admin_address(), &hello, None),
        outlast(gateway.data_address(), b"", None),
    );
    for (took, _) in [all.0, all.1, all.2] {
        in_time("the handshake", took, 10);
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_is_given_up_after_30_s() {
    let vllm = Options {
        models: vec![MODEL.into()],
        tasks: Tasks::ALL,
        max_model_len: 10_000_000,
        speed: Speed::default(),
        ..fast()
    };
    let stage = Setup::vllm(vllm).start().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let mut socket = socket.connect(stage.gateway.data_address()).await.unwrap();
    let body = chat(json!({"stream": true, "max_tokens": 5_000_000, "ignore_eos": true})).to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nX-Request-Id: stalled\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        stage.key,
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    stage.running(1).await;
    let begun = Instant::now();
    let limit = Duration::from_secs(45);
    while stage.gateway.running() > 0 || stage.vllm.active() > 0 {
        assert!(begun.elapsed() < limit, "it waits for ever");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(29), "it ended after {:?} already", begun.elapsed());
    assert_eq!(stage.record("stalled").await["outcome"], "client_gone");
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_is_given_up_at_its_deadline() {
    // Nobody accepts here: when the backlog is full, the next connection never comes about.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener: TcpListener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        waiting.push(connected.unwrap());
    }
    let config = PIPELINE
        .replace("{vllm}", &format!("http://{address}"))
        .replace("[upstreams.main]", "[upstreams.main]\nconnect_timeout = \"1s\"");
    let stage = Setup::rest(&config).start().await;
    let begun = Instant::now();
    assert_eq!(stage.chat(json!({})).await.status(), 503);
    in_time("the connection", begun.elapsed(), 1);
    drop((listener, waiting));
}
