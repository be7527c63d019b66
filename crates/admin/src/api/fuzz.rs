//! What fuzzing asks of queries and forms: what is taken is within its bounds, what is not is told in a plain line.
//!
//! libFuzzer calls these functions (`fuzz/`), and so does an ordinary test (`crates/fuzzing`).

use std::collections::HashSet;

use jiff::Timestamp;
use salvo::Request;
use salvo::http::uri::Uri;
use vllm_gateway_store::{AppStatus, LogQuery};

use super::form::{self, Form};
use super::{logs, usage};
use crate::fields::Fields;
use crate::problem::Problem;
use crate::query::Query;

/// The first byte says which question it is; the rest is its query.
pub fn query(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Some(req) = request(text) else { return };
    let told = if kind % 2 == 0 { of_logs(&req) } else { of_usage(&req) };
    if let Err(problem) = told {
        assert_plain(&problem);
    }
}

/// The first byte says which form it is; the rest is its body.
pub fn form(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    let told = Fields::parse(body).and_then(|fields| match kind % 3 {
        0 => Form::of(fields).map(|form| assert_sound(&form)),
        1 => form::status(fields)
            .map(|status| assert!(matches!(status, AppStatus::Enabled | AppStatus::Disabled))),
        _ => form::grace(fields).map(|seconds| assert!(seconds <= 30 * 86_400)),
    });
    if let Err(problem) = told {
        assert_plain(&problem);
    }
}

fn request(query: &str) -> Option<Request> {
    let uri: Uri = format!("/api/logs?{query}").parse().ok()?;
    let mut req = Request::new();
    req.set_uri(uri);
    Some(req)
}

fn of_logs(req: &Request) -> Result<(), Problem> {
    let query = Query::of(req, &logs::KNOWN)?;
    assert!((1..=200).contains(&query.page_size()?));
    assert!(query.page_num()? >= 1);
    let wanted = logs::wanted(&query)?;
    let from = wanted.from.expect("there is always a beginning");
    assert!(wanted.to.is_none_or(|to| from < to), "{wanted:?}");
    assert!(wanted.status.is_none_or(|status| (100..=599).contains(&status)), "{wanted:?}");
    let texts = [&wanted.app_id, &wanted.model, &wanted.request_id];
    assert!(texts.into_iter().flatten().all(|text| !text.is_empty()), "{wanted:?}");

    // Asked again in other words, it is the same question.
    if wanted.to.is_some() && from >= Timestamp::UNIX_EPOCH {
        let again = request(&spelled(&wanted)).expect("every byte is escaped");
        let again = Query::of(&again, &logs::KNOWN).and_then(|query| logs::wanted(&query));
        assert_eq!(again.as_ref().ok(), Some(&wanted));
    }
    Ok(())
}

fn of_usage(req: &Request) -> Result<(), Problem> {
    let query = Query::of(req, &usage::KNOWN)?;
    let (from, to) = logs::span(&query)?;
    assert!(to.is_none_or(|to| from < to));
    let (by_app, by_model) = usage::groups(&query)?;
    let asked = query.text("groupBy").unwrap_or_default();
    assert_eq!((by_app, by_model), (asked.contains("app"), asked.contains("model")), "{asked}");
    Ok(())
}

/// The question with every byte escaped.
fn spelled(wanted: &LogQuery) -> String {
    let LogQuery { app_id, model, outcome, status, from, to, request_id } = wanted;
    let parts = [
        ("appId", app_id.clone()),
        ("model", model.clone()),
        ("outcome", outcome.map(|outcome| outcome.as_str().to_owned())),
        ("status", status.map(|status| status.to_string())),
        ("from", from.map(|from| from.to_string())),
        ("to", to.map(|to| to.to_string())),
        ("requestId", request_id.clone()),
    ];
    let escaped = |text: String| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let pairs = parts.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", escaped(value?))));
    pairs.collect::<Vec<_>>().join("&")
}

fn assert_sound(form: &Form) {
    let length = form.org_name.chars().count();
    assert!((1..=200).contains(&length) && !form.org_name.contains(char::is_control));
    assert_eq!(form.org_name.trim(), form.org_name);
    assert!(form.remark.as_ref().is_none_or(|remark| remark.chars().count() <= 1000));
    let models = form.allowed_models.as_deref().unwrap_or_default();
    assert_eq!(models.iter().collect::<HashSet<_>>().len(), models.len(), "a model twice");
    assert!(models.iter().all(|model| !model.trim().is_empty() && model.len() <= 256));
}

/// A problem is 400, short, and has nothing in it that a terminal would obey.
fn assert_plain(problem: &Problem) {
    let (status, detail, field) = problem.parts();
    assert_eq!(status, 400, "{detail}");
    assert!(!detail.is_empty() && detail.len() < 1000, "{detail}");
    assert!(!detail.contains(char::is_control), "{detail:?}");
    assert!(!detail.contains("sk-live-0"), "a key is repeated: {detail}");
    assert!(field.is_some_and(|field| !field.contains(char::is_control) && field.len() < 1000), "{field:?}");
}
