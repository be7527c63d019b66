//! The hello plugin in a real pipeline.

use vllm_gateway_hello as _; // links the plugin: a crate that nobody mentions is not there
use vllm_gateway_sdk::testkit;

#[tokio::test]
async fn every_response_is_greeted() {
    let gateway = testkit::pipeline("filters = [\"hello\"]\n[hello]\ngreeting = \"moin\"");
    let run = gateway.send(testkit::chat("Qwen3-32B")).await;
    assert_eq!((run.status(), run.header("x-hello")), (200, Some("moin")));
}

#[test]
fn a_bad_greeting_is_reported_where_it_stands() {
    let problems = testkit::problems("filters = [\"hello\"]\n[hello]\ngreeting = \"line\\nbreak\"");
    assert_eq!(problems, ["3:12: a header value cannot hold this"]);
}
