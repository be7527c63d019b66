//! Rules of `[pipelines.NAME]`: do its filters exist, and is every filter used?

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use vllm_gateway_sdk::{PluginDef, decode::near_miss, plugin_named};

use super::order;
use crate::{
    PipelineOptions,
    draft::{Draft, Section},
    report::Report,
};

/// A filter that stands in a pipeline, with its place there.
pub(super) struct Member<'d> {
    pub(super) name: &'d str,
    pub(super) place: Range<usize>,
    pub(super) plugin: &'static PluginDef,
}

pub(super) fn check(draft: &Draft<'_>, report: &mut Report) {
    if draft.pipelines.is_empty() {
        report.error(0..0, "no pipeline is declared, so nothing would be served").hint(
            "declare one: `[pipelines.default]` with `filters = [\"access-log\", \"auth\", \"model-route\"]`",
        );
        return;
    }
    for section in &draft.pipelines {
        let Some(options) = &section.options else { continue };
        if options.filters.is_empty() {
            report
                .error(
                    section.at(&["filters"]),
                    format!("pipeline `{}`: no filters, so nothing routes", section.name),
                )
                .hint("name them: `filters = [\"access-log\", \"auth\", \"model-route\"]`");
        } else if let Some(mut members) = members(draft, section, options, report) {
            once(section, &mut members, report);
            order::check(section, options, &members, report);
        }
    }
    unused(draft, report);
}

/// The filters of a pipeline; `None` if any of them is not known, and so cannot be judged.
fn members<'d>(
    draft: &'d Draft<'_>,
    section: &'d Section<'_, PipelineOptions>,
    options: &'d PipelineOptions,
    report: &mut Report,
) -> Option<Vec<Member<'d>>> {
    let mut members: Vec<Member<'_>> = Vec::new();
    let mut complete = true;
    let mut seen = HashSet::new();
    for (index, name) in options.filters.iter().enumerate() {
        let place = section.at(&["filters", &index.to_string()]);
        let declared = draft.filters.iter().find(|filter| filter.name == *name);
        if !seen.insert(name) {
            report
                .error(
                    place,
                    format!("pipeline `{}`: `{}` stands here twice", section.name, name.escape_debug()),
                )
                .hint("for two filters of one plugin, declare a second table with `plugin = \"…\"`");
        } else if let Some(filter) = declared {
            match filter.plugin {
                Some(plugin) => members.push(Member { name, place, plugin }),
                None => complete = false,
            }
        } else {
            complete = false;
            unknown(draft, &section.name, name, place, report);
        }
    }
    complete.then_some(members)
}

/// Plugins that may stand only once do so; one too many is no longer judged by its place.
fn once(section: &Section<'_, PipelineOptions>, members: &mut Vec<Member<'_>>, report: &mut Report) {
    let mut firsts: HashMap<&str, &str> = HashMap::new();
    members.retain(|member| {
        let plugin = member.plugin;
        let first = *firsts.entry(plugin.name).or_insert(member.name);
        if !plugin.once || first == member.name {
            return true;
        }
        let message = format!(
            "pipeline `{}`: `{}` is a second `{}` beside `{first}`, and only one may stand in a pipeline",
            section.name, member.name, plugin.name
        );
        report.error(member.place.clone(), message).hint("leave one of them out");
        false
    });
}

fn unknown(draft: &Draft<'_>, pipeline: &str, name: &str, place: Range<usize>, report: &mut Report) {
    let message = format!("pipeline `{pipeline}`: no filter named `{}`", name.escape_debug());
    let declared = draft.filters.iter().map(|filter| filter.name.as_str());
    if plugin_named(name).is_some() {
        report.error(place, message).hint(format!("declare it: `[filters.{name}]`"));
    } else if let Some(near) = near_miss(name, declared.clone()) {
        report.error(place, format!("{message}, did you mean `{near}`?"));
    } else {
        let declared: Vec<&str> = declared.collect();
        let known = if declared.is_empty() {
            String::new()
        } else {
            format!("; declared are {}", declared.join(", "))
        };
        report.error(place, message).hint(format!("a filter is declared as `[filters.NAME]`{known}"));
    }
}

fn unused(draft: &Draft<'_>, report: &mut Report) {
    // Names in a pipeline that could not be decoded may be meant for any filter.
    if draft.pipelines.iter().any(|section| section.options.is_none()) {
        return;
    }
    let used: HashSet<&str> = draft
        .pipelines
        .iter()
        .filter_map(|section| section.options.as_ref())
        .flat_map(|options| options.filters.iter().map(String::as_str))
        .collect();
    // A misspelt name in a pipeline is told there.
    let misspelt = used.iter().filter(|name| !draft.filters.iter().any(|filter| filter.name == **name));
    let meant: HashSet<&str> = misspelt
        .filter_map(|name| near_miss(name, draft.filters.iter().map(|filter| filter.name.as_str())))
        .collect();
    for filter in &draft.filters {
        let name = filter.name.as_str();
        if !used.contains(name) && !meant.contains(name) {
            report
                .warning(filter.place.clone(), format!("filter `{name}` is not used"))
                .hint("put it into the `filters` of a pipeline, or remove it");
        }
    }
}
