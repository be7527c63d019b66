//! A process with few file descriptors, and more clients than it has room for.

use std::{process::Command, time::Instant};

use reqwest::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, sleep, timeout},
};
use vllm_gateway_simulator::Simulator;

use crate::{
    process::{Process, Start},
    support::{PATIENCE, PIPELINE, chat, fast},
};

const FILES: u32 = 256;

/// What a client that connects and says nothing gets to hear.
async fn heard(socket: &mut TcpStream) -> Option<String> {
    let mut answer = Vec::new();
    match timeout(Duration::from_millis(50), socket.read_to_end(&mut answer)).await {
        Ok(_) => Some(String::from_utf8_lossy(&answer).into_owned()),
        Err(_still_open) => None,
    }
}

/// Connects so many clients: those that are in, and what the others heard.
async fn flood(gateway: &Process, clients: usize) -> (Vec<TcpStream>, Vec<String>) {
    let mut waiting = Vec::new();
    for _ in 0..clients {
        waiting.push(TcpStream::connect(gateway.data).await.unwrap());
    }
    let (mut inside, mut refused) = (Vec::new(), Vec::new());
    for mut socket in waiting {
        match heard(&mut socket).await {
            None => inside.push(socket),
            Some(answer) => refused.push(answer),
        }
    }
    (inside, refused)
}

async fn chat_on(socket: &mut TcpStream, key: &str) -> String {
    let body = chat(serde_json::json!({})).to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

async fn until_served(gateway: &Process, key: &str) {
    let begun = Instant::now();
    while gateway.chat(key).await.status() != 200 {
        assert!(begun.elapsed() < PATIENCE, "it does not recover");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn more_clients_than_descriptors_are_shed_and_the_rest_goes_on() {
    let vllm = Simulator::start(fast()).await.unwrap();
    let config = PIPELINE.replace("{vllm}", &vllm.url());
    let gateway = Start { config: &config, server: "", environment: &[], files: Some(FILES) }.start().await;
    let key = gateway.app().await;
    assert_eq!(gateway.chat(&key).await.status(), 200);
    let before = gateway.open_files();

    let (mut inside, refused) = flood(&gateway, 400).await;
    assert!(inside.len() >= 60 && refused.len() >= 200, "{} in, {} refused", inside.len(), refused.len());
    for answer in &refused {
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"code\":\"overloaded\""),
            "{answer}"
        );
        assert!(answer.contains("retry-after: 1\r\n") && answer.contains("x-request-id: "), "{answer}");
    }
    assert!(gateway.open_files() < FILES as usize, "what is kept back is still there");

    // Whoever is in is served, recorded, and operators come in as ever.
    for _ in 0..5 {
        let answer = chat_on(&mut inside.pop().unwrap(), &key).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let apps = gateway.admin(Method::GET, "/api/apps").send().await.unwrap();
    assert_eq!(apps.status(), 200);
    let shed = gateway.metric("vllm_gateway_connections_shed_total").await;
    assert!(
        shed >= f64::from(u32::try_from(refused.len()).unwrap()),
        "{shed} are counted, {} were seen",
        refused.len()
    );

    drop(inside);
    until_served(&gateway, &key).await;
    let begun = Instant::now();
    while gateway.open_files() > before + 4 {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} files are open, before it were {before}",
            gateway.open_files()
        );
        sleep(Duration::from_millis(20)).await;
    }
    let accepted = gateway.metric("vllm_gateway_access_log_records_total{state=\"accepted\"}").await;
    assert!(accepted >= 7.0, "{accepted} records");
    assert!(!gateway.said().contains("accept connection failed"), "{}", gateway.said());
}

/// Other programs, or the system as a whole, can take what the gateway has counted on.
#[tokio::test]
async fn a_process_without_any_descriptor_says_so_and_recovers() {
    let vllm = Simulator::start(fast()).await.unwrap();
    let config = PIPELINE.replace("{vllm}", &vllm.url());
    let gateway = Start { config: &config, server: "", environment: &[], files: Some(1024) }.start().await;
    let key = gateway.app().await;
    assert_eq!(gateway.chat(&key).await.status(), 200);
    // From now on it gets no descriptor beyond those that it has open.
    let limit = |soft: usize| {
        let limits = format!("--nofile={soft}:1024");
        let set =
            Command::new("prlimit").args(["--pid", &gateway.id().to_string(), &limits]).status().unwrap();
        assert!(set.success());
    };
    limit(gateway.open_files());
    let (inside, refused) = flood(&gateway, 60).await;
    assert!(refused.len() >= 20, "{} in, {} refused", inside.len(), refused.len());
    let told = refused.iter().filter(|answer| answer.starts_with("HTTP/1.1 503 ")).count();
    assert_eq!(told, refused.len(), "{refused:?}");
    limit(1024);
    drop(inside);
    until_served(&gateway, &key).await;
    assert_eq!(gateway.admin(Method::GET, "/api/apps").send().await.unwrap().status(), 200);
    let up = gateway.metric("vllm_gateway_endpoint_up").await;
    assert!((up - 1.0).abs() < f64::EPSILON, "the endpoint was blamed for what the process lacked");
}
