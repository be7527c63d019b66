//! The environment of the process says nothing about where requests go.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::net::TcpListener;
use vllm_gateway_simulator::Simulator;

use crate::{
    process::Start,
    support::{PIPELINE, fast},
};

#[tokio::test]
async fn a_proxy_of_the_environment_is_not_asked() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        while proxy.accept().await.is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let vllm = Simulator::start(fast()).await.unwrap();
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let mut environment: Vec<_> = names.map(|name| (name, &*url)).into();
    environment.extend([("NO_PROXY", ""), ("no_proxy", "")]);
    let config = PIPELINE.replace("{vllm}", &vllm.url());
    let gateway = Start { config: &config, server: "", environment: &environment, files: None }.start().await;
    let key = gateway.app().await;
    assert_eq!(gateway.chat(&key).await.status(), 200);
    let models = gateway.client.get(format!("http://{}/v1/models", gateway.data)).bearer_auth(&key);
    assert_eq!(models.send().await.unwrap().status(), 200);
    assert_eq!((vllm.requests().len(), asked.load(Ordering::SeqCst)), (2, 0));
}
