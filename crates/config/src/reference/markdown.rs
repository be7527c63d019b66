//! The reference for the documentation: `docs/configuration.md` and `docs/plugins.md`.

use std::fmt::Write as _;

use schemars::JsonSchema;
use vllm_gateway_sdk::plugins as linked;

use super::{Row, declared, example, of_plugin, of_struct};
use crate::{
    AdminOptions, JournalOptions, MongodbOptions, PipelineOptions, ServerOptions, SqliteOptions,
    UpstreamOptions,
};

const CONFIGURATION: &str = "\
<!-- Generated from the option structs of the code; a test compares. -->
# Configuration

The gateway reads one file, `gateway.toml`. `vllm-gateway check` tells every problem in it in one run,
`vllm-gateway schema` prints its JSON Schema for editors, and `SIGHUP`, `POST /api/reload` or a change of the file
make a running gateway read it again. An invalid file changes nothing. What needs a restart is said.

Unknown keys are errors. Durations are written `\"30s\"` or `\"1h30m\"`, with the units `ms`, `s`, `m`, `h` and `d`, sizes
`\"32MiB\"`. Secrets are never written into the file: `\"env:NAME\"` names an environment variable, `\"file:PATH\"` a file.
Relative paths are relative to the file.
Keys that are not required may be left out, and so may `[server]`, `[admin]`, `[store]` and
`[journal]` as a whole.
";

const FILTERS: &str = "
## `[filters.NAME]`

A filter: a plugin with options. `plugin = \"…\"` names the plugin and defaults to NAME, so one plugin can appear twice
with different options. Which options there are depends on the plugin: [plugins](plugins.md).
";

const PLUGINS: &str = "\
<!-- Generated from the option structs of the code; a test compares. -->
# Plugins

A `[filters.NAME]` table makes a filter of a plugin, and the `filters` of a pipeline say where it stands:
[configuration](configuration.md). The order counts. A filter that observes belongs before those that may answer by
themselves, else it does not see what they refuse; one that needs a fact belongs behind the one that provides it; one
that reads bodies belongs behind the one that lets requests in. `vllm-gateway check` looks after all of this.
";

/// The text of `docs/configuration.md`.
#[must_use]
pub fn configuration() -> String {
    let mut text = CONFIGURATION.to_owned();
    section::<ServerOptions>(&mut text, "`[server]`");
    section::<AdminOptions>(&mut text, "`[admin]`");
    section::<SqliteOptions>(&mut text, "`[store]` with `kind = \"sqlite\"`, the default");
    section::<MongodbOptions>(&mut text, "`[store]` with `kind = \"mongodb\"`");
    section::<JournalOptions>(&mut text, "`[journal]`");
    section::<PipelineOptions>(&mut text, "`[pipelines.NAME]`");
    text.push_str(FILTERS);
    section::<UpstreamOptions>(&mut text, "`[upstreams.NAME]`");
    text
}

/// The text of `docs/plugins.md`: all linked plugins.
#[must_use]
pub fn plugins() -> String {
    let mut text = PLUGINS.to_owned();
    for plugin in linked() {
        let _ = write!(text, "\n## `{}`\n\n{}\n", plugin.name, sentence(plugin.summary));
        let facts = declared(plugin);
        if !facts.is_empty() {
            let _ = write!(text, "\nIt {facts}.\n");
        }
        table(&mut text, &of_plugin(plugin));
        let _ = write!(text, "\n```toml\n{}\n```\n", example(plugin));
    }
    text
}

/// A summary has neither a capital nor a full stop: it stands in lists, too.
fn sentence(summary: &str) -> String {
    let mut characters = summary.chars();
    let first: String = characters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", characters.as_str().trim_end_matches('.'))
}

fn section<T: JsonSchema>(text: &mut String, title: &str) {
    let (about, rows) = of_struct::<T>();
    let about = about.split_whitespace().collect::<Vec<_>>().join(" ");
    let _ = write!(text, "\n## {title}\n\n{about}\n");
    table(text, &rows);
}

fn table(text: &mut String, rows: &[Row]) {
    if rows.is_empty() {
        text.push_str("\nIt has no options.\n");
        return;
    }
    text.push_str("\n| Key | Type | Default | Meaning |\n| --- | --- | --- | --- |\n");
    for row in rows {
        let default = match (&row.default, row.required) {
            (_, true) => "required".to_owned(),
            (Some(default), _) => format!("`{default}`"),
            (None, _) => String::new(),
        };
        let cells = [format!("`{}`", row.key), row.kind.clone(), default, row.meaning.clone()];
        let _ = writeln!(text, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
}
