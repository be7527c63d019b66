//! Single calls: of the admin side, and of the simulated vLLM whose answers are replayed.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{answer::Answer, load};

/// One answer, whole.
pub(crate) struct Called {
    pub(crate) status: u16,
    /// All that was sent, framing included.
    pub(crate) raw: Vec<u8>,
    /// The length of its head in `raw`.
    pub(crate) head: usize,
    pub(crate) body: Vec<u8>,
}

/// Sends these bytes on a connection of their own and reads the one answer.
pub(crate) async fn send(address: SocketAddr, request: &[u8]) -> std::io::Result<Called> {
    let mut socket = load::connect(address).await;
    socket.write_all(request).await?;
    let (mut answer, mut raw, mut body) = (Answer::new(), Vec::new(), Vec::new());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = socket.read(&mut buffer).await?;
        assert!(read > 0, "{address} closed the connection before its answer ended");
        raw.extend_from_slice(&buffer[..read]);
        if answer.take(&buffer[..read], &mut |bytes| body.extend_from_slice(bytes)) {
            return Ok(Called { status: answer.status(), head: answer.head().len(), raw, body });
        }
    }
}

/// The text behind a path.
pub(crate) async fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
    let called = send(address, request.as_bytes()).await?;
    Ok((called.status, String::from_utf8_lossy(&called.body).into_owned()))
}

/// Posts JSON to the admin side and gives what it answers.
pub(crate) async fn post(address: SocketAddr, path: &str, token: &str, json: &str) -> serde_json::Value {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{json}",
        json.len()
    );
    let called = send(address, request.as_bytes()).await.unwrap();
    assert!((200..300).contains(&called.status), "{}", String::from_utf8_lossy(&called.body));
    serde_json::from_slice(&called.body).unwrap()
}
