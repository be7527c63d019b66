//! What is refused, and what passes.

use vllm_gateway_access_log as _;
use vllm_gateway_auth as _;
use vllm_gateway_cost_caps as _;
use vllm_gateway_sdk::testkit::{self, Gateway, Run};

const CAPS: &str = "max_choices = 8\nmax_tokens = 4096\nmax_prompts = 4";

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

fn gateway(options: &str) -> Gateway {
    testkit::pipeline(&format!("filters = [\"access-log\", \"cost-caps\"]\n[cost-caps]\n{options}\n"))
        .upstream(testkit::json(200, "{}"))
}

async fn send(gateway: &Gateway, path: &str, members: &str) -> Run {
    gateway.send(testkit::post(path, &format!("{{\"model\":\"m\",{members}}}"))).await
}

/// Sends these members and expects a refusal that names this one, with these words.
async fn refused(path: &str, members: &str, param: &str, words: &str) {
    let gateway = gateway(CAPS);
    let run = send(&gateway, path, members).await;
    assert_eq!(
        (run.status(), run.error_code()),
        (400, "cost_cap_exceeded"),
        "{path} {members}: {}",
        run.body()
    );
    let body = run.body();
    assert!(body.contains(&format!("\"param\":\"{param}\"")) && body.contains(words), "{members}: {body}");
    assert_eq!(run.logged()[0].error_code.as_deref(), Some("cost_cap_exceeded"));
    assert_eq!(gateway.upstream_calls(), 0);
}

async fn passes(path: &str, members: &str) {
    let run = send(&gateway(CAPS), path, members).await;
    assert_eq!(run.status(), 200, "{path} {members}: {}", run.body());
}

#[tokio::test]
async fn more_tokens_than_the_cap_are_refused_in_words() {
    let words =
        "`max_tokens` asks for 4097 tokens, and at most 4096 may be asked for here: send a smaller one";
    refused(CHAT, r#""max_tokens":4097"#, "max_tokens", words).await;
    refused(TEXT, r#""max_tokens":4097"#, "max_tokens", words).await;
    refused(CHAT, r#""max_completion_tokens":5000,"max_tokens":5"#, "max_completion_tokens", "5000 tokens")
        .await;
    refused(CHAT, r#""max_completion_tokens":5,"max_tokens":5000"#, "max_tokens", "5000 tokens").await;
    refused("/v1/chat/completions/batch", r#""max_tokens":5000"#, "max_tokens", "5000 tokens").await;
    refused("/v1/responses", r#""input":"a","max_output_tokens":5000"#, "max_output_tokens", "5000").await;
    refused("/invocations", r#""prompt":"a","max_tokens":5000"#, "max_tokens", "5000 tokens").await;
}

#[tokio::test]
async fn what_a_form_asks_for_counts_too() {
    for (field, value, status) in [
        ("n", "9", 400),
        ("n", "1e3", 400),
        ("n", "many", 400),
        ("max_completion_tokens", "4097", 400),
        ("max_completion_tokens", " 5_000 ", 400),
        ("n", "8", 200),
        ("n", "", 200),
        ("max_completion_tokens", "4096", 200),
        ("temperature", "9000", 200),
    ] {
        for path in ["/v1/audio/transcriptions", "/v1/audio/translations"] {
            let gateway = gateway(CAPS);
            let run =
                gateway.send(testkit::form(path, &[("model", "m"), (field, "1"), (field, value)])).await;
            assert_eq!(run.status(), status, "{path} {field}={value:?}: {}", run.body());
            assert_eq!(gateway.upstream_calls(), u64::from(status == 200));
        }
    }
}

#[tokio::test]
async fn what_is_within_the_caps_passes() {
    for members in [
        r#""max_tokens":4096,"n":8"#,
        r#""max_tokens":4096.0,"max_completion_tokens":"4096""#,
        r#""max_tokens":null,"n":null,"best_of":null"#,
        r#""messages":[{"role":"user","content":"a"},{"role":"user"},{},{},{},{}]"#,
        r#""documents":[{"text":"a"},{},{},{},{},{}]"#,
        r#""x":{"max_tokens":9999,"n":99},"metadata":{"prompt":["a","b","c","d","e"]}"#,
    ] {
        passes(CHAT, members).await;
    }
    passes(TEXT, r#""prompt":[1,2,3,4,5,6,7,8,9,10]"#).await;
    passes(TEXT, r#""prompt":["a","b","c","d"],"n":2"#).await;
    passes("/v1/responses", r#""input":[{"role":"user"},{},{},{},{},{}],"max_output_tokens":4096"#).await;
    passes("/v1/embeddings", r#""input":["a","b","c","d"]"#).await;
    passes("/v2/embed", r#""texts":["a"],"max_tokens":100000"#).await;
}

#[tokio::test]
async fn no_spelling_of_a_number_slips_past_a_cap() {
    for value in [
        "4097.0",
        "\"4097\"",
        "\" 4_097 \"",
        "1e30",
        "4096.5",
        "99999999999999999999",
        "Infinity",
        "\"lots\"",
        "[1]",
    ] {
        refused(CHAT, &format!("\"max_tokens\":{value}"), "max_tokens", "at most 4096").await;
        refused(CHAT, &format!("\"n\":{value}"), "n", "at most 8").await;
    }
    refused(CHAT, r#""m\u0061x_tokens":4097"#, "max_tokens", "4097").await;
    let endless = format!("\"max_tokens\":1{}", "0".repeat(4_000));
    refused(CHAT, &endless, "max_tokens", "is no number, or too large for one").await;
}

#[tokio::test]
async fn every_place_of_a_key_counts() {
    for members in [
        r#""max_tokens":9999,"max_tokens":1"#,
        r#""max_tokens":1,"max_tokens":9999"#,
        r#""max_tokens":9999,"max\u005ftokens":null"#,
    ] {
        refused(CHAT, members, "max_tokens", "9999").await;
    }
    refused(TEXT, r#""prompt":["a","b","c","d","e"],"prompt":"a""#, "prompt", "5 prompts").await;
}

#[tokio::test]
async fn choices_are_counted_over_all_prompts() {
    refused(CHAT, r#""n":9"#, "n", "`n` asks for 9 choices, and at most 8 may be asked for at once").await;
    refused(TEXT, r#""prompt":"a","n":1,"best_of":20"#, "best_of", "`best_of` asks for 20 choices").await;
    let words = "3 prompts with 3 choices each make 9 choices, and at most 8 may be asked for at once: \
                 send fewer prompts in one request, or a smaller `n`";
    refused(TEXT, r#""prompt":["a","b",[1,2]],"n":3"#, "prompt", words).await;
    refused(TEXT, r#""prompt":["a","b"],"prompt_embeds":["c"],"n":3"#, "prompt", "3 prompts with 3").await;
    refused(TEXT, r#""prompt_embeds":["a","b","c"],"n":3"#, "prompt_embeds", "3 prompts with 3").await;
    let batch = r#""messages":[[{"role":"user"}],[{}],[{}]],"n":3"#;
    refused("/v1/chat/completions/batch", batch, "messages", "3 prompts with 3 choices").await;
}

#[tokio::test]
async fn more_prompts_than_the_cap_are_refused_wherever_they_stand() {
    let five = r#"["a","b","c","d","e"]"#;
    for (path, list) in [
        (TEXT, "prompt"),
        ("/invocations", "prompt"),
        ("/invocations", "input"),
        ("/invocations", "documents"),
        ("/v1/embeddings", "input"),
        ("/pooling", "input"),
        ("/classify", "input"),
        ("/v1/rerank", "documents"),
        ("/v2/rerank", "documents"),
        ("/rerank", "documents"),
        ("/score", "text_1"),
        ("/v1/score", "text_2"),
        ("/score", "data_1"),
        ("/score", "data_2"),
        ("/score", "queries"),
        ("/score", "items"),
        ("/generative_scoring", "items"),
        ("/v2/embed", "texts"),
        ("/v2/embed", "images"),
        ("/v2/embed", "inputs"),
    ] {
        let words = format!(
            "`{list}` makes 5 prompts, and at most 4 may be sent at once: send them in several requests"
        );
        refused(path, &format!("\"{list}\":{five}"), list, &words).await;
    }
    refused("/v1/embeddings", r#""input":[[1],[2],[3],[4],[5]]"#, "input", "5 prompts").await;
    refused("/score", r#""data_2":{"content":[{},{},{},{},{}]}"#, "data_2", "5 prompts").await;
    refused("/v1/chat/completions/batch", r#""messages":[[],[],[],[],[]]"#, "messages", "5 prompts").await;
    refused(TEXT, r#""prompt":["a","b","c"],"prompt_embeds":["d","e"]"#, "prompt_embeds", "5 prompts").await;
}

#[tokio::test]
async fn on_the_messages_route_the_refusal_has_anthropics_shape() {
    let run = send(&gateway(CAPS), "/v1/messages", r#""max_tokens":4097"#).await;
    assert_eq!(run.status(), 400);
    let body = run.body();
    assert!(body.starts_with(r#"{"type":"error","error":{"type":"invalid_request_error""#), "{body}");
    assert!(body.contains("`max_tokens` asks for 4097 tokens"), "{body}");
}

#[tokio::test]
async fn a_cap_that_is_not_set_caps_nothing() {
    let huge = r#""max_tokens":999999,"n":999,"prompt":["a","b","c","d","e"]"#;
    for (caps, param) in
        [("max_choices = 8", "n"), ("max_tokens = 8", "max_tokens"), ("max_prompts = 4", "prompt")]
    {
        let run = send(&gateway(caps), TEXT, huge).await;
        assert!(run.body().contains(&format!("\"param\":\"{param}\"")), "{caps}: {}", run.body());
    }
    let run = send(&gateway("max_choices = 999999"), TEXT, huge).await;
    assert_eq!(run.status(), 200, "{}", run.body());
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_malformed_and_a_list_of_models_has_none() {
    let gateway = gateway(CAPS);
    let run = gateway.send(testkit::post(CHAT, "{\"n\":")).await;
    assert_eq!((run.status(), run.error_code()), (400, ""), "{}", run.body());
    assert_eq!(gateway.send(testkit::get("/v1/models")).await.status(), 200);
}

#[tokio::test]
async fn behind_auth_nobody_unknown_makes_the_gateway_look_at_a_body() {
    let text = format!("filters = [\"auth\", \"cost-caps\"]\n[cost-caps]\n{CAPS}\n");
    let gateway = testkit::pipeline(&text).upstream(testkit::json(200, "{}")).app("acme", |app| app);
    let over = testkit::post(CHAT, r#"{"model":"m","n":99}"#);
    assert_eq!(gateway.send(over.clone()).await.status(), 401);
    assert_eq!(gateway.send(over.key("acme")).await.error_code(), "cost_cap_exceeded");
}
