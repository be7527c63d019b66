//! Rules about which pipeline serves which routes.

use std::{collections::HashMap, ops::Range};

use vllm_gateway_sdk::{decode::near_miss, routes};

use crate::{Pattern, draft::Draft, patterns::route_map, report::Report};

pub(super) fn check(draft: &Draft<'_>, report: &mut Report) {
    let mut owners: HashMap<Pattern, &str> = HashMap::new();
    let mut served: Vec<Vec<Pattern>> = Vec::new();
    let mut sound = true;
    for section in &draft.pipelines {
        let name = section.name.as_str();
        let Some(options) = &section.options else {
            sound = false;
            served.push(Vec::new());
            continue;
        };
        let patterns: Vec<(Pattern, Range<usize>)> = match &options.routes {
            None => vec![(Pattern::everything(), section.place.clone())],
            Some(list) if list.is_empty() => {
                report
                    .error(
                        section.at(&["routes"]),
                        format!("pipeline `{name}`: no routes, so it serves nothing"),
                    )
                    .hint("leave `routes` out to serve every inference route");
                sound = false;
                Vec::new()
            }
            Some(list) => list
                .iter()
                .enumerate()
                .filter_map(|(index, text)| {
                    let place = section.at(&["routes", &index.to_string()]);
                    let pattern = parse(name, text, &place, report)?;
                    Some((pattern, place))
                })
                .collect(),
        };
        sound &= patterns.len() == options.routes.as_ref().map_or(1, Vec::len);
        for (pattern, place) in &patterns {
            match owners.insert(pattern.clone(), name) {
                Some(other) if other == name => {
                    report
                        .warning(place.clone(), format!("pipeline `{name}`: `{pattern}` stands here twice"));
                }
                Some(other) => {
                    sound = false;
                    let what = if options.routes.is_some() {
                        &format!("`{pattern}` already goes")
                    } else {
                        "all routes already go"
                    };
                    report
                        .error(place.clone(), format!("pipeline `{name}`: {what} to pipeline `{other}`"))
                        .hint("give each of them `routes` of its own");
                }
                None => {}
            }
        }
        served.push(patterns.into_iter().map(|(pattern, _)| pattern).collect());
    }
    if sound {
        idle(draft, &served, report);
    }
}

fn parse(pipeline: &str, text: &str, place: &Range<usize>, report: &mut Report) -> Option<Pattern> {
    let what = format!("pipeline `{pipeline}`: `{}`", text.escape_debug());
    let pattern = match Pattern::parse(text) {
        Ok(pattern) => pattern,
        Err(why) => {
            report.error(place.clone(), format!("{what} is not a route")).hint(why);
            return None;
        }
    };
    if pattern.matches_any() {
        return Some(pattern);
    }
    let whole = format!("{}/*", text.trim_end_matches(['*', '/']));
    let as_prefix = Pattern::parse(&whole).is_ok_and(|pattern| pattern.matches_any());
    let hint = match near_miss(text, routes().map(|route| route.path)) {
        _ if as_prefix => format!("did you mean `{whole}`?"),
        Some(near) => format!("did you mean `{near}`?"),
        None => "routes are those of vLLM's inference API, like `/v1/chat/completions` or `/v1/*`".to_owned(),
    };
    report.error(place.clone(), format!("{what} matches no route of the gateway")).hint(hint);
    None
}

/// Pipelines of which no route is left, since others say more about each.
fn idle(draft: &Draft<'_>, served: &[Vec<Pattern>], report: &mut Report) {
    let map = route_map(served.iter().map(Vec::as_slice));
    for (index, section) in draft.pipelines.iter().enumerate() {
        if !map.values().any(|owner| *owner == index) {
            report
                .warning(section.at(&["routes"]), format!("pipeline `{}` serves nothing", section.name))
                .hint("the patterns of other pipelines say more about each of its routes");
        }
    }
}
