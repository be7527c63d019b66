//! Rules about the order of the filters in one pipeline, from what their plugins declare.

use vllm_gateway_sdk::{Fact, PluginDef, plugins};

use super::pipelines::Member;
use crate::{PipelineOptions, draft::Section, report::Report};

pub(super) fn check(
    section: &Section<'_, PipelineOptions>,
    options: &PipelineOptions,
    members: &[Member<'_>],
    report: &mut Report,
) {
    needs(section, members, report);
    providers(section, members, report);
    admission(section, options, members, report);
    bodies(section, members, report);
    observers(section, members, report);
}

/// Each filter's needs are met by one before it.
fn needs(section: &Section<'_, PipelineOptions>, members: &[Member<'_>], report: &mut Report) {
    for (index, member) in members.iter().enumerate() {
        let (before, rest) = members.split_at(index);
        for fact in member.plugin.requires.iter().filter(|fact| provider(before, **fact).is_none()) {
            let what = format!("pipeline `{}`: `{}` needs the {}", section.name, member.name, fact.as_str());
            match provider(rest, *fact) {
                Some(late) => report
                    .error(
                        member.place.clone(),
                        format!("{what}, which `{}` provides only after it", late.name),
                    )
                    .hint(format!("put `{}` before `{}`", late.name, member.name)),
                None => report
                    .error(member.place.clone(), format!("{what}, and no filter before it provides that"))
                    .hint(who_provides(*fact)),
            }
        }
    }
}

/// Something routes, and each fact has one provider.
fn providers(section: &Section<'_, PipelineOptions>, members: &[Member<'_>], report: &mut Report) {
    if provider(members, Fact::Target).is_none() {
        report
            .error(
                section.at(&["filters"]),
                format!("pipeline `{}`: nothing routes: no filter provides the target", section.name),
            )
            .hint(who_provides(Fact::Target));
    }
    for fact in [Fact::Consumer, Fact::Target] {
        let mut those = members.iter().filter(|member| member.plugin.provides.contains(&fact));
        let Some(first) = those.next() else { continue };
        for second in those {
            let message = format!(
                "pipeline `{}`: `{}` provides the {} that `{}` has provided",
                section.name,
                second.name,
                fact.as_str(),
                first.name
            );
            report
                .warning(second.place.clone(), message)
                .hint("the later one has the last word; leave one of them out");
        }
    }
}

/// Who is let in is known before it is decided where to.
fn admission(
    section: &Section<'_, PipelineOptions>,
    options: &PipelineOptions,
    members: &[Member<'_>],
    report: &mut Report,
) {
    let Some(router) = members.iter().position(|member| member.plugin.provides.contains(&Fact::Target))
    else {
        return;
    };
    let (before, after) = members.split_at(router);
    // A filter that itself needs the consumer has said so already.
    let told = members.iter().enumerate().any(|(index, member)| {
        let met = provider(members.get(..index).unwrap_or_default(), Fact::Consumer).is_some();
        member.plugin.requires.contains(&Fact::Consumer) && !met
    });
    if told || provider(before, Fact::Consumer).is_some() {
        return;
    }
    let Some(router) = members.get(router) else { return };
    if let Some(late) = provider(after, Fact::Consumer) {
        if late.name != router.name {
            let message = format!(
                "pipeline `{}`: `{}` comes after `{}`, so nobody looks at which models the app may use",
                section.name, late.name, router.name
            );
            report
                .error(late.place.clone(), message)
                .hint(format!("put `{}` before `{}`", late.name, router.name));
        }
    } else if !options.public {
        report
            .error(
                section.at(&["filters"]),
                format!("pipeline `{}` lets anybody in: no filter provides the consumer", section.name),
            )
            .hint(format!("{}; or say that this is meant: `public = true`", who_provides(Fact::Consumer)));
    }
}

/// Who reads bodies stands behind those who let requests in. Whoever routes has been told so, and more.
fn bodies(section: &Section<'_, PipelineOptions>, members: &[Member<'_>], report: &mut Report) {
    for (index, member) in members.iter().enumerate() {
        let plugin = member.plugin;
        if plugin.provides.contains(&Fact::Consumer) {
            return;
        }
        if !plugin.reads_body || plugin.provides.contains(&Fact::Target) {
            continue;
        }
        let Some(late) = members.get(index..).and_then(|rest| provider(rest, Fact::Consumer)) else { return };
        let message = format!(
            "pipeline `{}`: `{}` comes before `{}`: bodies are read of those whom nobody has let in",
            section.name, member.name, late.name
        );
        report
            .warning(member.place.clone(), message)
            .hint(format!("put `{}` behind `{}`", member.name, late.name));
    }
}

/// Who observes stands before those who refuse, and there are records.
fn observers(section: &Section<'_, PipelineOptions>, members: &[Member<'_>], report: &mut Report) {
    for (index, member) in members.iter().enumerate().filter(|(_, member)| member.plugin.observes) {
        let refusing: Vec<String> = members
            .iter()
            .take(index)
            .filter(|before| !before.plugin.rejects.is_empty())
            .map(|before| format!("`{}`", before.name))
            .collect();
        let Some((last, others)) = refusing.split_last() else { continue };
        let names =
            if others.is_empty() { last.clone() } else { format!("{} and {last}", others.join(", ")) };
        let lost = if is_log(member.plugin) { "are not logged" } else { "go unseen" };
        let who = if others.is_empty() { "it refuses" } else { "they refuse" };
        let message = format!(
            "pipeline `{}`: `{}` comes after {names}: requests that {who} {lost}",
            section.name, member.name
        );
        report.warning(member.place.clone(), message).hint(format!("put `{}` first", member.name));
    }
    if !members.iter().any(|member| is_log(member.plugin)) {
        report
            .warning(
                section.at(&["filters"]),
                format!("pipeline `{}` has no `access-log`: its requests leave no records", section.name),
            )
            .hint("put `access-log` first");
    }
}

fn is_log(plugin: &PluginDef) -> bool {
    plugin.name == "access-log"
}

fn provider<'m, 'd>(members: &'m [Member<'d>], fact: Fact) -> Option<&'m Member<'d>> {
    members.iter().find(|member| member.plugin.provides.contains(&fact))
}

fn who_provides(fact: Fact) -> String {
    let names: Vec<&str> = plugins()
        .into_iter()
        .filter(|plugin| plugin.provides.contains(&fact))
        .map(|plugin| plugin.name)
        .collect();
    if names.is_empty() {
        format!("no linked plugin provides the {}", fact.as_str())
    } else {
        format!("the {} is provided by: {}", fact.as_str(), names.join(", "))
    }
}
