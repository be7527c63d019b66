//! `[pipelines.NAME]`: which filters some routes go through, and in which order.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::required;

/// Which filters some routes go through, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = required("filters"))]
pub struct PipelineOptions {
    /// The routes that it serves: exact paths, or prefixes like `"/v1/*"`. Of several patterns that match, the
    /// longest wins, and an exact path wins over all. Without this key the pipeline serves every inference route.
    #[schemars(length(min = 1))]
    pub routes: Option<Vec<String>>,
    /// Names of `[filters.NAME]` tables. Requests go through them from left to right, responses from right to
    /// left. A filter that stands in two pipelines is one object with one state: a limit in it is shared.
    #[schemars(length(min = 1))]
    pub filters: Vec<String>,
    /// Confirms that anybody may use this pipeline: without it, a pipeline in which no filter says who the request
    /// acts for is an error.
    pub public: bool,
}
