//! Rules of `[upstreams.NAME]`.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
};

use vllm_gateway_sdk::{Fact, routes};

use crate::{
    Blocks, EndpointsFile, Severity, UpstreamOptions, WhenAsleep,
    build::BuiltFilter,
    draft::{Draft, Section},
    report::Report,
};

pub(super) fn check(
    draft: &Draft<'_>,
    filters: &BTreeMap<String, BuiltFilter>,
    base: &Path,
    report: &mut Report,
) {
    for upstream in &draft.upstreams {
        if let Some(options) = &upstream.options {
            endpoints(upstream, options, report);
            endpoints_file(upstream, options, base, report);
            deadlines(upstream, options, report);
            health(upstream, options, report);
        }
    }
    unused(draft, filters, report);
}

fn endpoints(upstream: &Section<'_, UpstreamOptions>, options: &UpstreamOptions, report: &mut Report) {
    let name = &upstream.name;
    if options.endpoints.is_empty() && options.endpoints_file.is_none() {
        report
            .error(upstream.at(&["endpoints"]), format!("upstream `{name}`: no endpoints"))
            .hint("name a vLLM server: `endpoints = [{ url = \"http://10.0.0.11:8000\" }]`");
    }
    let mut seen = HashSet::new();
    for (index, endpoint) in options.endpoints.iter().enumerate() {
        let place = upstream.at(&["endpoints", &index.to_string(), "url"]);
        if !seen.insert(&endpoint.url) {
            report
                .warning(place.clone(), format!("upstream `{name}`: `{}` is named twice", endpoint.url))
                .hint("give it a larger `weight` instead");
        }
        let url = endpoint.url.as_str();
        if endpoint.resolve && url.starts_with("https:") {
            report
                .error(
                    upstream.at(&["endpoints", &index.to_string(), "resolve"]),
                    format!("upstream `{name}`: `resolve` is for `http` only: a certificate is checked by the name"),
                )
                .hint("list the servers by names of their own");
        }
        // The path alone: a server may be called `ping`.
        let path = url.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)));
        let path = path.unwrap_or_default();
        let route =
            routes().map(|route| route.path).filter(|route| path.ends_with(route)).max_by_key(|it| it.len());
        if let Some(route) = route {
            let message =
                format!("upstream `{name}`: `{url}` ends in the route `{route}`, which requests bring along");
            let base = url.strip_suffix(route).unwrap_or(url);
            // A folder may be called `score`, none is called `v1/completions`.
            let severity = if route.starts_with("/v1/") { Severity::Error } else { Severity::Warning };
            report
                .add(place, severity, message)
                .hint(format!("write the URL of the server alone: `url = \"{base}\"`"));
        } else if url.ends_with("/v1") {
            report
                .warning(place, format!("upstream `{name}`: requests will go to `{}/v1/…`", endpoint.url))
                .hint("leave `/v1` out: the gateway puts the whole route behind the URL");
        }
    }
}

fn endpoints_file(
    upstream: &Section<'_, UpstreamOptions>,
    options: &UpstreamOptions,
    base: &Path,
    report: &mut Report,
) {
    let Some(path) = &options.endpoints_file else { return };
    let why = match EndpointsFile::read(&base.join(path)) {
        Err(why) => why,
        Ok(file) if file.endpoints.is_empty() && options.endpoints.is_empty() => {
            format!("`{}` names no endpoint", path.display())
        }
        Ok(_) => return,
    };
    let message = format!("upstream `{}`: `endpoints_file`: {why}", upstream.name);
    let finding = report.warning(upstream.at(&["endpoints_file"]), message);
    finding.blocks(Blocks::Reload).hint("the gateway does not start without it");
}

fn deadlines(upstream: &Section<'_, UpstreamOptions>, options: &UpstreamOptions, report: &mut Report) {
    let total = options.total_timeout;
    let parts = [
        ("connect_timeout", options.connect_timeout),
        ("first_byte_timeout", options.first_byte_timeout),
        ("gap_timeout", options.gap_timeout),
    ];
    for (key, part) in parts.into_iter().filter(|(_, part)| *part > total) {
        let place = if upstream.has(key) { upstream.at(&[key]) } else { upstream.at(&["total_timeout"]) };
        let message = format!(
            "upstream `{}`: `{key}` ({part}) is never reached: `total_timeout` is {total}",
            upstream.name
        );
        report.warning(place, message).hint(format!("make `{key}` shorter, or `total_timeout` longer"));
    }
}

/// Looks that could find nothing out, and second tries beyond all requests.
fn health(upstream: &Section<'_, UpstreamOptions>, options: &UpstreamOptions, report: &mut Report) {
    let name = &upstream.name;
    if !options.health.path.starts_with('/') {
        let message = format!("upstream `{name}`: the path that is looked at must begin with `/`");
        report.error(upstream.at(&["health", "path"]), message).hint("vLLM's own is `/health`");
    }
    if options.when_asleep == WhenAsleep::Wake && options.health.interval.get().is_none() {
        let message = format!("upstream `{name}`: without looks nobody finds out that a server sleeps");
        report
            .error(upstream.at(&["when_asleep"]), message)
            .hint("give `health` an `interval`, or leave out `when_asleep`");
    }
    if options.retry_budget > 100 {
        let message = format!("upstream `{name}`: `retry_budget` is a part of the requests, in percent");
        report.error(upstream.at(&["retry_budget"]), message).hint("100 lets all of them be tried again");
    }
}

/// Upstreams that no filter leads to. Known only if every filter that chooses targets says which.
fn unused(draft: &Draft<'_>, filters: &BTreeMap<String, BuiltFilter>, report: &mut Report) {
    let mut used = HashSet::new();
    for filter in &draft.filters {
        let chooses = filter.plugin.is_none_or(|plugin| plugin.provides.contains(&Fact::Target));
        let offers = filters.get(&filter.name).map(|built| built.filter.models()).unwrap_or_default();
        if chooses && offers.is_empty() {
            return;
        }
        for target in offers.into_iter().map(|offer| offer.target) {
            used.extend(target.mirror.map(|mirror| Arc::clone(&mirror.upstream)));
            used.insert(target.upstream);
        }
    }
    for upstream in draft.upstreams.iter().filter(|upstream| !used.contains(upstream.name.as_str())) {
        report
            .warning(upstream.place.clone(), format!("upstream `{}` is not used", upstream.name))
            .hint("no filter routes a model to it");
    }
}
