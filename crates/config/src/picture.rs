//! The picture of each pipeline, so that nobody has to hold its order in the head.

use std::{
    collections::{BTreeSet, HashSet},
    fmt::Write as _,
};

use vllm_gateway_sdk::{ModelOffer, PluginDef, plugin_named};

use crate::{Config, PipelineConfig, Step};

/// Draws all pipelines, in the order of the file.
#[must_use]
pub fn picture(config: &Config) -> String {
    let drawn: Vec<String> = config.pipelines.iter().map(|pipeline| draw(config, pipeline)).collect();
    drawn.join("\n")
}

fn draw(config: &Config, pipeline: &PipelineConfig) -> String {
    let routes: Vec<String> = pipeline
        .patterns
        .iter()
        .map(|pattern| match pattern.to_string().as_str() {
            "/*" => "all routes".to_owned(),
            pattern => pattern.to_owned(),
        })
        .collect();
    let public = if pipeline.public { "   public" } else { "" };
    let mut text = format!("pipeline {}   {}{public}\n", pipeline.name, routes.join(" "));

    let titles: Vec<String> = pipeline.steps.iter().map(title).collect();
    let width = titles.iter().map(|title| title.chars().count()).max().unwrap_or(0);
    let digits = pipeline.steps.len().to_string().len();
    for (index, (step, title)) in pipeline.steps.iter().zip(&titles).enumerate() {
        let start = if index == 0 { "  request  │" } else { "           │" };
        let facts = plugin_named(step.plugin).map(facts).unwrap_or_default();
        let line = format!("{start} {:>digits$} {title:<width$}   {facts}", index + 1);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let _ =
        writeln!(text, "           ▼ {:digits$} {:<width$}   {}", "", "upstream", reach(config, pipeline));

    let observers: Vec<&str> = pipeline
        .steps
        .iter()
        .rev()
        .filter(|step| plugin_named(step.plugin).is_some_and(|plugin| plugin.observes))
        .map(|step| step.name.as_str())
        .collect();
    let seen = if observers.is_empty() { "nobody observes".to_owned() } else { observers.join(" ▸ ") };
    let _ = writeln!(text, "  response ▲ {seen}");
    text
}

fn title(step: &Step) -> String {
    if step.name == step.plugin { step.name.clone() } else { format!("{} ({})", step.name, step.plugin) }
}

/// What a plugin declares, in words.
pub(crate) fn facts(plugin: &PluginDef) -> String {
    let mut facts = Vec::new();
    if plugin.observes {
        facts.push("observes".to_owned());
    }
    facts.extend(plugin.requires.iter().map(|fact| format!("needs {}", fact.as_str())));
    facts.extend(plugin.provides.iter().map(|fact| format!("provides {}", fact.as_str())));
    if !plugin.rejects.is_empty() {
        let statuses: Vec<String> = plugin.rejects.iter().map(ToString::to_string).collect();
        facts.push(format!("may answer {}", statuses.join(" ")));
    }
    facts.join(", ")
}

/// How many models and endpoints a pipeline leads to.
fn reach(config: &Config, pipeline: &PipelineConfig) -> String {
    let offers: Vec<ModelOffer> = pipeline.steps.iter().flat_map(|step| step.filter.models()).collect();
    let models: HashSet<&str> = offers.iter().map(|offer| &*offer.name).collect();
    let upstreams: BTreeSet<&str> = offers.iter().map(|offer| &*offer.target.upstream).collect();
    let endpoints: usize = upstreams
        .iter()
        .filter_map(|name| config.upstreams.get(*name))
        .map(|upstream| upstream.endpoints.len())
        .sum();
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    format!("{}, {}", count(models.len(), "model"), count(endpoints, "endpoint"))
}
