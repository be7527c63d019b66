//! Who is let in.

use serde_json::Value;

use crate::support::{Gateway, TOKEN};

/// Every method and path of the document, with an id where one is wanted.
pub(crate) fn operations(document: &Value) -> Vec<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let path = path.replace("{id}", "0190c1d2-0000-7000-8000-000000000000").replace("{name}", "main");
        item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
    });
    all.collect()
}

#[tokio::test]
async fn no_route_answers_without_the_token_except_the_public_ones() {
    let gateway = Gateway::start().await;
    let (_, key) = gateway.app("one").await;
    let document = gateway.get("/api/openapi.json").await.json();
    let mut routes = operations(&document);
    assert!(routes.len() >= 15, "{routes:?}");
    routes.extend([
        ("GET".into(), "/api/nothing".into()),
        ("PATCH".into(), "/api/apps".into()),
        ("GET".into(), "/x".into()),
    ]);
    let prefix = &TOKEN[..TOKEN.len() - 1];
    for (method, path) in routes {
        for token in [None, Some(""), Some("wrong"), Some(key.as_str()), Some(prefix)] {
            let answer = gateway.call_as(token, &method, &path, None).await;
            if path == "/metrics" {
                assert_eq!(answer.status, 200);
                continue;
            }
            answer.problem(401, None);
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"admin\"", "{method} {path}");
            assert_eq!(answer.header("allow"), "", "{method} {path}");
        }
    }
    for public in ["/", "/page.js", "/page.css"] {
        assert_eq!(gateway.call_as(None, "GET", public, None).await.status, 200, "{public}");
    }
}

#[tokio::test]
async fn metrics_need_the_token_where_that_is_wished() {
    let gateway = Gateway::start_with(true).await;
    gateway.call_as(None, "GET", "/metrics", None).await.problem(401, None);
    let metrics = gateway.get("/metrics").await;
    assert_eq!(
        (metrics.status, metrics.header("content-type")),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
}

#[tokio::test]
async fn credentials_of_another_kind_are_refused_and_the_scheme_may_be_written_in_any_case() {
    let gateway = Gateway::start().await;
    let send = async |credentials: &str| {
        let head = "GET /api/apps HTTP/1.1\r\nhost: x\r\nconnection: close";
        let request = format!("{head}\r\nauthorization: {credentials}\r\n\r\n");
        let mut stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(send(&format!("bearer {TOKEN}")).await, "200");
    for bad in [format!("Basic {TOKEN}"), TOKEN.to_owned(), "Bearer".to_owned(), format!("Bearer {TOKEN} x")]
    {
        assert_eq!(send(&bad).await, "401", "{bad}");
    }
}
