//! `plugins` and `schema`: what the option structs and their doc comments say.

use vllm_gateway_config::reference;
use vllm_gateway_sdk::{decode::near_miss, plugin_named, plugins as linked};

use super::{Failure, complain, print};

pub(super) fn plugins(name: Option<&str>) -> Result<(), Failure> {
    let Some(name) = name else { return print(&reference::list()) };
    let Some(plugin) = plugin_named(name) else {
        let names: Vec<_> = linked().iter().map(|plugin| plugin.name).collect();
        let near = near_miss(name, names.iter().copied())
            .map(|near| format!(", did you mean `{near}`?"))
            .unwrap_or_default();
        complain(&format!("error: no plugin named `{name}` is linked{near} (linked: {})", names.join(", ")));
        return Err(Failure::Usage);
    };
    print(&reference::explain(plugin))
}

pub(super) fn schema() -> Result<(), Failure> {
    print(&format!("{}\n", serde_json::to_string_pretty(&vllm_gateway_config::schema())?))
}
