//! Responses that a server keeps: asked for, cancelled and gone on from where they are, by the app whose they are.

mod apart;
mod asked;
mod continued;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use vllm_gateway_simulator::{Options, Seen, Simulator};

use crate::{
    support::{MODEL, json_of},
    yard::{Yard, yard_of},
};

/// So many servers that keep their responses, asked in turn.
pub(super) async fn keeping(count: usize, upstream: &str) -> Yard {
    let keeping = || Options { response_store: true, ..crate::support::fast() };
    yard_of((0..count).map(|_| keeping()).collect(), &format!("balance = \"round-robin\"\n{upstream}")).await
}

impl Yard {
    pub(super) fn asks(&self, extra: &Value) -> RequestBuilder {
        self.asks_as(&self.key, extra)
    }

    pub(super) fn asks_as(&self, key: &str, extra: &Value) -> RequestBuilder {
        let mut body = json!({"model": MODEL, "input": "Say hello", "max_output_tokens": 4});
        for (key, value) in extra.as_object().unwrap() {
            body[key] = value.clone();
        }
        let request = self.client.post(self.url("/v1/responses")).bearer_auth(key);
        request.header("content-type", "application/json").body(body.to_string())
    }

    /// Has a response made, and gives its id and the server that made it.
    pub(super) async fn made(&self, extra: Value) -> (String, usize) {
        self.vllms.iter().for_each(Simulator::forget);
        let answer = self.asks(&extra).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{extra}");
        (id_of(&answer.text().await.unwrap()), self.only_asked())
    }

    /// The one server that was asked anything.
    pub(super) fn only_asked(&self) -> usize {
        let asked: Vec<_> =
            (0..self.vllms.len()).filter(|at| !self.vllms[*at].requests().is_empty()).collect();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked[0]
    }

    /// What the servers were asked since this was last looked at.
    pub(super) fn seen(&self) -> Vec<(usize, Seen)> {
        let all = self.vllms.iter().enumerate();
        let seen =
            all.flat_map(|(at, vllm)| vllm.requests().into_iter().map(move |seen| (at, seen))).collect();
        self.vllms.iter().for_each(Simulator::forget);
        seen
    }

    pub(super) async fn of_response(&self, method: Method, path: &str, key: &str) -> Response {
        let request =
            self.client.request(method, self.url(&format!("/v1/responses/{path}"))).bearer_auth(key);
        request.send().await.unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Response {
        self.of_response(Method::GET, path, &self.key).await
    }

    /// The key of another app.
    pub(super) async fn stranger(&self) -> String {
        self.create_app(json!({"orgName": "others"})).await["apiKey"].as_str().unwrap().to_owned()
    }
}

/// The id in an answer, streamed or not.
pub(super) fn id_of(answer: &str) -> String {
    let (_, rest) = answer.split_once(r#""id":""#).unwrap_or_else(|| panic!("{answer}"));
    rest.split('"').next().unwrap().to_owned()
}

/// That it is refused as vLLM refuses what it does not have (recordings a17d and a17e).
pub(super) async fn is_unknown(answer: Response) {
    assert_eq!(answer.status(), 404);
    let error = json_of(answer).await["error"].clone();
    let (kind, param, code) = (&error["type"], &error["param"], &error["code"]);
    assert_eq!((kind, param, code), (&json!("invalid_request_error"), &json!("response_id"), &json!(404)));
}
