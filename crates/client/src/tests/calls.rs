//! Calls through real sockets, to a server that does what each test says.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{Connector, Origin, Request, Response, SendError, send};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

struct Server {
    listener: TcpListener,
    origin: Arc<Origin>,
    connector: Connector,
}

impl Server {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base", listener.local_addr().unwrap());
        let connector = Connector::plain(Duration::from_secs(5), 64);
        Self { listener, origin: Arc::new(Origin::new(&url).unwrap()), connector }
    }

    async fn call(&self, body: &[&'static str]) -> Result<Response, SendError> {
        let segments: Vec<_> = body.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect();
        let mut request = Request::post(&self.origin, "/v1/x");
        request.header(&CONTENT_TYPE, &"application/json".parse().unwrap());
        send(&self.connector, &self.origin, request.body(&segments), &[CONTENT_TYPE]).await
    }

    async fn accept(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// Accepts, hears a request to its end, and answers so.
    async fn answer(&self, answer: &str) -> TcpStream {
        let mut socket = self.accept().await;
        heard(&mut socket).await;
        socket.write_all(answer.as_bytes()).await.unwrap();
        socket
    }

    async fn answer_and_close(&self, answer: &str) {
        drop(self.answer(answer).await);
    }
}

/// Reads a request to its end and says it.
async fn heard(socket: &mut TcpStream) -> String {
    let mut text = Vec::new();
    loop {
        assert!(socket.read_buf(&mut text).await.unwrap() > 0, "{}", String::from_utf8_lossy(&text));
        let said = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = said.split_once("\r\n\r\n") else { continue };
        let length: usize = head
            .split_once("content-length: ")
            .map_or(0, |(_, length)| length.lines().next().unwrap().parse().unwrap());
        if body.len() == length {
            return said;
        }
    }
}

async fn whole(response: Response) -> Result<String, std::io::Error> {
    Ok(String::from_utf8(response.body.collect().await?.to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn a_request_is_sent_as_it_is_and_the_connection_is_used_again() {
    let server = Server::new().await;
    let serve = async {
        let mut socket = server.accept().await;
        for _ in 0..2 {
            let said = heard(&mut socket).await;
            let host = server.origin.authority.clone();
            let expected = format!(
                "POST /base/v1/x HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
                 content-length: 8\r\n\r\n{{\"a\": 1}}"
            );
            assert_eq!(said, expected);
            socket.write_all(OK.as_bytes()).await.unwrap();
        }
        socket
    };
    let ask = async {
        for _ in 0..2 {
            let answer = server.call(&["{\"a\"", "", ": 1}"]).await.unwrap();
            assert_eq!(whole(answer).await.unwrap(), "ok");
            assert_eq!(server.origin.idle(), 1);
        }
    };
    tokio::join!(serve, ask);
}

#[tokio::test]
async fn an_answer_that_is_out_gives_its_connection_back_before_it_is_asked_again() {
    let server = Server::new().await;
    let serve = server.answer(OK);
    let (_socket, answer) = tokio::join!(serve, server.call(&[]));
    let mut answer = answer.unwrap();
    assert_eq!(answer.body.size_hint().exact(), Some(2));
    assert_eq!(answer.body.frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
    assert_eq!(server.origin.idle(), 1);
}

#[tokio::test]
async fn a_connection_that_the_server_has_closed_or_spoken_on_is_not_used_again() {
    for last_words in ["", "HTTP/1.1 408 Request Timeout\r\n\r\n"] {
        let server = Server::new().await;
        let serve = server.answer(OK);
        let (mut socket, answer) = tokio::join!(serve, server.call(&[]));
        assert_eq!(whole(answer.unwrap()).await.unwrap(), "ok");
        socket.write_all(last_words.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();

        let serve = server.answer_and_close(OK);
        let ((), answer) = tokio::join!(serve, server.call(&[]));
        assert_eq!(whole(answer.unwrap()).await.unwrap(), "ok");
    }
}

#[tokio::test]
async fn answers_that_do_not_end_as_they_must_are_errors_and_their_connections_are_closed() {
    for (answer, sense) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx", true),
        ("HTTP/1.1 200 OK\r\nContent-Le", false),
        ("", false),
        ("junk\r\n\r\n", false),
    ] {
        let server = Server::new().await;
        let serve = server.answer_and_close(answer);
        let ((), called) = tokio::join!(serve, server.call(&["{}"]));
        assert_eq!(called.is_ok(), sense, "{answer:?}");
        if let Ok(response) = called {
            assert!(whole(response).await.is_err(), "{answer:?}");
        }
        assert_eq!(server.origin.idle(), 0, "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_without_length_ends_with_its_connection() {
    let server = Server::new().await;
    let serve = server.answer_and_close("HTTP/1.1 200 OK\r\n\r\nall there is");
    let ((), answer) = tokio::join!(serve, server.call(&[]));
    assert_eq!(whole(answer.unwrap()).await.unwrap(), "all there is");
    assert_eq!(server.origin.idle(), 0);
}

#[tokio::test]
async fn a_server_may_answer_before_it_has_read_everything() {
    let server = Server::new().await;
    let large: &'static str = Box::leak("x".repeat(8 << 20).into_boxed_str());
    let serve = async {
        let mut socket = server.accept().await;
        let mut first = [0; 100];
        socket.read_exact(&mut first).await.unwrap();
        socket.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        socket
    };
    let body = [large];
    let (_socket, answer) = tokio::join!(serve, server.call(&body));
    assert_eq!(answer.unwrap().status, 413);
    assert_eq!(server.origin.idle(), 0, "the rest of the request is owed on it");
}

#[tokio::test]
async fn who_drops_a_call_or_an_answer_closes_its_connection() {
    let server = Server::new().await;
    let call = tokio::time::timeout(Duration::from_millis(50), server.call(&["{}"]));
    let (mut socket, called) = tokio::join!(server.accept(), call);
    assert!(called.is_err());
    heard(&mut socket).await;
    assert_eq!(socket.read(&mut [0; 8]).await.unwrap(), 0);

    let serve = server.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab");
    let (mut socket, answer) = tokio::join!(serve, server.call(&[]));
    let mut answer = answer.unwrap();
    assert_eq!(answer.body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
    drop(answer);
    assert_eq!(socket.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_get_has_no_body_and_says_nothing_of_one() {
    let server = Server::new().await;
    let mut request = Request::get(&server.origin, "/v1/x/resp_1?stream=true");
    request.header(&CONTENT_TYPE, &"application/json".parse().unwrap());
    let serve = async {
        let mut socket = server.accept().await;
        let said = heard(&mut socket).await;
        assert!(said.starts_with("GET /base/v1/x/resp_1?stream=true HTTP/1.1\r\nhost: 127.0.0.1:"), "{said}");
        assert!(said.ends_with("\r\ncontent-type: application/json\r\n\r\n"), "{said}");
        assert!(!said.contains("content-length"), "{said}");
        socket.write_all(OK.as_bytes()).await.unwrap();
    };
    let call = send(&server.connector, &server.origin, request.without_body(), &[]);
    let ((), answer) = tokio::join!(serve, call);
    assert_eq!(whole(answer.unwrap()).await.unwrap(), "ok");
}

#[tokio::test]
async fn nobody_there_is_told_from_somebody_who_does_not_answer() {
    let server = Server::new().await;
    let refused = Arc::new(Origin::new("http://127.0.0.1:1").unwrap());
    let request = Request::post(&refused, "/").body(&[]);
    let error = send(&server.connector, &refused, request, &[]).await.unwrap_err();
    assert!(error.is_connect(), "{error}");
    // A name is resolved, and its addresses tried in turn.
    let port = server.listener.local_addr().unwrap().port();
    let named = Arc::new(Origin::new(&format!("http://localhost:{port}")).unwrap());
    let serve = async {
        let mut socket = server.accept().await;
        assert!(heard(&mut socket).await.contains(&format!("host: localhost:{port}\r\n")));
        socket.write_all(OK.as_bytes()).await.unwrap();
    };
    let call = send(&server.connector, &named, Request::post(&named, "/").body(&[]), &[]);
    let ((), answer) = tokio::join!(serve, call);
    assert_eq!(whole(answer.unwrap()).await.unwrap(), "ok");
}

#[tokio::test]
async fn what_has_waited_for_too_long_is_closed() {
    let server = Server::new().await;
    let serve = server.answer(OK);
    let (mut socket, answer) = tokio::join!(serve, server.call(&[]));
    assert_eq!(whole(answer.unwrap()).await.unwrap(), "ok");
    server.origin.tidy();
    assert_eq!(server.origin.idle(), 1);
    std::thread::sleep(Duration::from_millis(3_600));
    server.origin.tidy();
    assert_eq!(server.origin.idle(), 0);
    assert_eq!(socket.read(&mut [0; 8]).await.unwrap(), 0);
}
