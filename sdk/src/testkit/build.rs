//! Builds the filters that a text declares, with the places of all its problems.

use std::{ops::Range, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    BuildCx, Services, Step,
    decode::{Problem, Value},
    plugin_named, plugins,
};

/// What a text declares.
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// Where requests go for which no filter says it.
    pub(super) upstream: Arc<str>,
}

pub(super) fn plan(text: &str, services: &Services) -> Result<Plan, Vec<String>> {
    let root = DeTable::parse(text).map_err(|error| {
        let problem = Problem { span: error.span(), message: error.message().to_owned(), hint: None };
        vec![located(text, &problem)]
    })?;
    let root = root.get_ref();
    let upstreams = words(root, "upstreams").unwrap_or_else(|| vec![("vllm", 0..0)]);
    let names: Vec<&str> = upstreams.iter().map(|(name, _)| *name).collect();
    let Some(filters) = words(root, "filters") else {
        return Err(vec!["1:1: `filters` must list the filters, as in `filters = [\"hello\"]`".to_owned()]);
    };

    let mut problems = strangers(root, &filters);
    let mut steps = Vec::new();
    for (name, span) in &filters {
        match step(root, name, &BuildCx::new(name, services, &names)) {
            Ok(step) => steps.push(step),
            Err(found) => problems
                .extend(found.into_iter().map(|p| Problem { span: p.span.or(Some(span.clone())), ..p })),
        }
    }
    problems.sort_by_key(|problem| problem.span.clone().map(|span| span.start));
    match problems.as_slice() {
        [] => Ok(Plan { steps, upstream: names.first().copied().unwrap_or("vllm").into() }),
        problems => Err(problems.iter().map(|problem| located(text, problem)).collect()),
    }
}

fn step(root: &DeTable<'_>, name: &str, cx: &BuildCx<'_>) -> Result<Step, Vec<Problem>> {
    let mut options = match root.get(name) {
        Some(options) => options.clone(),
        None => Spanned::new(0..0, DeValue::Table(DeTable::new())),
    };
    let plugin = take_plugin(&mut options).unwrap_or_else(|| name.to_owned());
    let Some(def) = plugin_named(&plugin) else {
        let linked: Vec<_> = plugins().iter().map(|plugin| plugin.name).collect();
        let message = format!("no plugin named `{plugin}` is linked");
        let hint =
            format!("linked: {}; a test links its plugin with `use my_crate as _;`", linked.join(", "));
        return Err(vec![Problem { span: None, message, hint: Some(hint) }]);
    };
    let built = (def.build)(&options, cx);
    match built.filter {
        Some(filter) if built.problems.is_empty() => Ok(Step { name: name.into(), filter, meter: None }),
        _ => Err(built.problems),
    }
}

/// Takes out the key that names the plugin of an instance.
fn take_plugin(options: &mut Value<'_>) -> Option<String> {
    let DeValue::Table(table) = options.get_mut() else { return None };
    Some(table.remove("plugin")?.get_ref().as_str()?.to_owned())
}

/// Tables that belong to no filter: most likely a misspelt name.
fn strangers(root: &DeTable<'_>, filters: &[(&str, Range<usize>)]) -> Vec<Problem> {
    let known =
        |key: &str| key == "filters" || key == "upstreams" || filters.iter().any(|(name, _)| *name == key);
    let strange = root.keys().filter(|key| !known(key.get_ref()));
    strange
        .map(|key| Problem {
            span: Some(key.span()),
            message: format!("`{}` is not in `filters`", key.get_ref()),
            hint: None,
        })
        .collect()
}

/// The strings of an array, each with its place.
fn words<'t>(table: &'t DeTable<'_>, key: &str) -> Option<Vec<(&'t str, Range<usize>)>> {
    let array = table.get(key)?.get_ref().as_array()?;
    array.iter().map(|value| Some((value.get_ref().as_str()?, value.span()))).collect()
}

fn located(text: &str, problem: &Problem) -> String {
    let at = problem.span.as_ref().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let hint = problem.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{line}:{column}: {}{hint}", problem.message)
}
