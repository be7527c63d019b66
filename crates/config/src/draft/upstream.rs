//! `[upstreams.NAME]`, with more to say about endpoints that are written as plain addresses.

use serde_json::json;
use toml::de::DeValue;
use vllm_gateway_sdk::decode::{Problem, Value, decode};

use super::Section;
use crate::{EndpointUrl, UpstreamOptions, report::Report};

pub(super) fn read<'t>(name: String, value: Value<'t>, report: &mut Report) -> Section<'t, UpstreamOptions> {
    let (options, mut problems) = decode(&value);
    let endpoints = value.get_ref().as_table().and_then(|table| table.get("endpoints"));
    for problem in &mut problems {
        problem.hint =
            endpoints.and_then(|endpoints| written_out(problem, endpoints)).or(problem.hint.take());
    }
    report.problems(problems, &value.span(), &format!("upstream `{name}`"));
    Section { name, place: value.span(), value: Some(value), options }
}

/// The endpoint that a string was meant to be, as a table.
fn written_out(problem: &Problem, endpoints: &Value<'_>) -> Option<String> {
    let is_here = |value: &Value<'_>| Some(value.span()) == problem.span;
    let table = |value: &Value<'_>| {
        // What is no URL is not repeated: it may be anything.
        let text = value.get_ref().as_str()?;
        let url = EndpointUrl::try_from(text.to_owned());
        let url = url.map_or_else(|_| "http://10.0.0.11:8000".to_owned(), |_| text.to_owned());
        Some(format!("{{ url = {} }}", json!(url)))
    };
    match endpoints.get_ref() {
        DeValue::Array(items) => {
            table(items.iter().find(|item| is_here(item))?).map(|table| format!("write `{table}`"))
        }
        _ if is_here(endpoints) => table(endpoints).map(|table| format!("write `endpoints = [{table}]`")),
        _ => None,
    }
}
