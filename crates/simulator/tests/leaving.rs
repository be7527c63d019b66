//! A client that leaves ends its generation at once, however it leaves and whatever it waits for.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::time::Duration;

use support::{Broken, Client, PATIENCE, chat};
use tokio::io::AsyncWriteExt;
use vllm_gateway_simulator::{End, Options, Simulator, Speed};

const LONG: &str = r#","max_tokens":20000,"ignore_eos":true,"stream":true"#;

async fn paced(itl: Duration) -> Simulator {
    let speed = Speed { ttft: Duration::ZERO, itl, jitter: 0.0 };
    Simulator::start(Options { speed, ..Options::default() }).await.unwrap()
}

async fn all_ended(simulator: &Simulator) -> End {
    assert!(simulator.wait_for(PATIENCE, |simulator| simulator.active() == 0).await, "it still runs");
    assert!(
        simulator.wait_for(PATIENCE, |simulator| simulator.connections().open == 0).await,
        "it is still open"
    );
    simulator.ledger().pop().unwrap().ended.unwrap().0
}

#[tokio::test]
async fn closing_in_the_middle_of_a_stream_ends_it() {
    let simulator = paced(Duration::from_millis(2)).await;
    let mut client = Client::connect(&simulator).await;
    client.post("/v1/chat/completions", &chat(LONG)).await;
    client.until_events(5).await.unwrap();
    assert_eq!(simulator.running(), 1);
    drop(client);
    assert_eq!(all_ended(&simulator).await, End::ClientLeft);
    let generation = simulator.ledger().pop().unwrap();
    assert!(generation.completion_tokens >= 4 && generation.completion_tokens < 20_000);
    assert!(generation.sent_tokens <= generation.completion_tokens);
    simulator.shutdown().await;
}

#[tokio::test]
async fn resetting_in_the_middle_of_a_stream_ends_it() {
    let simulator = paced(Duration::from_millis(2)).await;
    let mut client = Client::connect(&simulator).await;
    client.post("/v1/chat/completions", &chat(LONG)).await;
    client.until_events(3).await.unwrap();
    client.socket.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(all_ended(&simulator).await, End::ClientLeft);
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_half_close_counts_as_leaving_and_is_not_answered() {
    for more in [LONG, r#","max_tokens":100"#] {
        let simulator = paced(Duration::from_secs(1)).await;
        simulator.set_speed(Speed { ttft: Duration::from_secs(60), ..Speed::default() });
        let mut client = Client::connect(&simulator).await;
        client.post("/v1/chat/completions", &chat(more)).await;
        assert!(simulator.wait_for(PATIENCE, |simulator| simulator.running() == 1).await);
        client.socket.shutdown().await.unwrap();
        let rest = client.rest().await.unwrap();
        // A stream's head leaves at once and may have been faster.
        assert!(!String::from_utf8_lossy(&rest).contains("data:"), "{rest:?}");
        assert_eq!(all_ended(&simulator).await, End::ClientLeft);
        assert_eq!(simulator.ledger().pop().unwrap().completion_tokens, 0);
        simulator.shutdown().await;
    }
}

#[tokio::test]
async fn leaving_while_waiting_for_a_whole_answer_ends_it() {
    let simulator = paced(Duration::from_millis(2)).await;
    let mut client = Client::connect(&simulator).await;
    client.post("/v1/chat/completions", &chat(r#","max_tokens":20000,"ignore_eos":true"#)).await;
    assert!(simulator.wait_for(PATIENCE, |simulator| simulator.generated_tokens() > 10).await);
    drop(client);
    assert_eq!(all_ended(&simulator).await, End::ClientLeft);
    let generation = simulator.ledger().pop().unwrap();
    assert!(generation.completion_tokens > 10);
    assert_eq!(generation.sent_tokens, 0, "no answer was written");
    simulator.shutdown().await;
}

#[tokio::test]
async fn leaving_the_queue_frees_the_place_in_it() {
    let speed = Speed { itl: Duration::from_millis(2), ..Speed::default() };
    let options = Options { speed, max_num_seqs: 1, ..Options::default() };
    let simulator = Simulator::start(options).await.unwrap();
    let mut runs = Client::connect(&simulator).await;
    runs.post("/v1/chat/completions", &chat(LONG)).await;
    runs.until_events(2).await.unwrap();
    let mut waits = Client::connect(&simulator).await;
    waits.post("/v1/chat/completions", &chat(LONG)).await;
    // The head leaves before there is a seat.
    waits.until("\r\n\r\n").await.unwrap();
    assert_eq!((simulator.running(), simulator.waiting()), (1, 1));
    drop(waits);
    assert!(simulator.wait_for(PATIENCE, |simulator| simulator.waiting() == 0).await);
    assert_eq!(simulator.running(), 1);
    drop(runs);
    all_ended(&simulator).await;
    simulator.shutdown().await;
}

#[tokio::test]
async fn leaving_before_the_body_has_come_starts_nothing() {
    let simulator = paced(Duration::ZERO).await;
    let mut client = Client::connect(&simulator).await;
    client.send(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{").await;
    client.socket.shutdown().await.unwrap();
    assert_eq!(client.rest().await, Ok(Vec::new()));
    assert!(simulator.ledger().is_empty());
    simulator.shutdown().await;
}

#[tokio::test]
async fn a_reader_that_stops_reading_holds_the_generation_and_no_memory() {
    let simulator = paced(Duration::ZERO).await;
    let mut client = Client::connect(&simulator).await;
    client
        .post("/v1/chat/completions", &chat(r#","max_tokens":30000,"ignore_eos":true,"stream":true"#))
        .await;
    client.until_events(1).await.unwrap();
    // Sockets hold some megabytes; then the generation has to wait.
    let mut last = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = simulator.generated_tokens();
        if now == last {
            break;
        }
        last = now;
    }
    assert_eq!(simulator.active(), 1);
    assert!(last < 30_000, "30,000 events fit into the sockets of this machine");
    drop(client);
    assert_eq!(all_ended(&simulator).await, End::ClientLeft);
    simulator.shutdown().await;
}

#[tokio::test]
async fn hanging_up_and_shutting_down_are_told_from_leaving() {
    let simulator = paced(Duration::from_millis(2)).await;
    for stop in [false, true] {
        let mut client = Client::connect(&simulator).await;
        client.post("/v1/chat/completions", &chat(LONG)).await;
        client.until_events(2).await.unwrap();
        if stop {
            simulator.shutdown().await;
        } else {
            simulator.hang_up();
        }
        assert!(matches!(client.answer().await, Err(Broken::Closed(_))));
        assert_eq!(all_ended(&simulator).await, End::HungUp);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_come_and_leave_every_token_is_in_the_ledger() {
    let simulator = paced(Duration::from_millis(1)).await;
    simulator.set_max_num_seqs(40);
    let mut clients = Vec::new();
    for number in 0..200_usize {
        let simulator = simulator.clone();
        clients.push(tokio::spawn(async move {
            let mut client = Client::connect(&simulator).await;
            let stream = number % 3 != 0;
            client
                .post("/v1/chat/completions", &chat(&format!(r#","max_tokens":30,"n":2,"stream":{stream}"#)))
                .await;
            match number % 4 {
                // Some leave while they wait, some in the middle, the others stay to the end.
                0 => drop(client),
                1 if stream => client.until_events(7).await.unwrap(),
                _ => assert_eq!(client.answer().await.unwrap().status, 200),
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    assert!(simulator.wait_for(PATIENCE, |simulator| simulator.active() == 0).await);
    assert_eq!((simulator.running(), simulator.waiting()), (0, 0));
    let ledger = simulator.ledger();
    let total: usize = ledger.iter().map(|generation| generation.completion_tokens).sum();
    assert_eq!(total, simulator.generated_tokens());
    for generation in &ledger {
        match generation.ended.as_ref().unwrap().0 {
            End::Finished("length") => assert_eq!(generation.completion_tokens, 60),
            End::ClientLeft => assert!(generation.completion_tokens < 60),
            ref other => panic!("{other:?}"),
        }
    }
    assert!(
        ledger.iter().filter(|generation| generation.ended.as_ref().unwrap().0 == End::ClientLeft).count()
            > 10
    );
    simulator.shutdown().await;
}
