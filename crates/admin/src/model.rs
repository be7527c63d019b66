//! What goes over the wire, as it is and as the document describes it.

use jiff::Timestamp;
use salvo::oapi::{Components, Ref, RefOr, Schema, ToSchema};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema as JsonSchemaOf, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vllm_gateway_store::{App, Page, Record, UsageRow};

/// An app.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "App")]
pub(crate) struct AppView {
    /// Its id, given by the gateway.
    id: String,
    /// The organisation's name.
    org_name: String,
    /// The first 16 characters of its newest key.
    key_prefix: String,
    /// `enabled` or `disabled`.
    #[schemars(extend("enum" = ["enabled", "disabled"]))]
    status: String,
    /// When it was made.
    #[schemars(with = "Time")]
    create_time: Timestamp,
    /// When its keys cease to work; `null`: never.
    #[schemars(with = "Option<Time>")]
    expire_time: Option<Timestamp>,
    /// When one of its keys was last used; up to some seconds behind.
    #[schemars(with = "Option<Time>")]
    last_used_time: Option<Timestamp>,
    /// A note for people.
    remark: Option<String>,
    /// The models it may use; `null`: all, an empty list: none.
    allowed_models: Option<Vec<String>>,
}

impl From<App> for AppView {
    fn from(app: App) -> Self {
        let App {
            id,
            org_name,
            key_prefix,
            status,
            create_time,
            expire_time,
            last_used_time,
            remark,
            allowed_models,
        } = app;
        let status = status.as_str().to_owned();
        Self {
            id,
            org_name,
            key_prefix,
            status,
            create_time,
            expire_time,
            last_used_time,
            remark,
            allowed_models,
        }
    }
}

/// An app with its new key.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AppWithKey")]
pub(crate) struct AppWithKey {
    /// The app.
    #[serde(flatten)]
    pub(crate) app: AppView,
    /// The whole key. It is shown here and never again.
    pub(crate) api_key: String,
}

/// What is written of an app.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "AppForm")]
#[expect(
    dead_code,
    reason = "describes the body; `api::apps::form` takes it apart, to name the member at fault"
)]
pub(crate) struct AppForm {
    /// The organisation's name: not only white space, no control characters, no key.
    #[schemars(length(min = 1, max = 200))]
    org_name: String,
    /// When its keys cease to work; `null` or absent: never. It lies in the future when an app is made.
    #[schemars(with = "Option<Time>")]
    expire_time: Option<Timestamp>,
    /// A note for people: no control characters but line feeds and tabs, no key.
    #[schemars(length(max = 1000))]
    remark: Option<String>,
    /// The models it may use, by the names that clients use; `null` or absent: all, an empty list: none.
    #[schemars(extend("uniqueItems" = true))]
    allowed_models: Option<Vec<String>>,
}

/// Lets an app in, or not.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "StatusForm")]
#[expect(dead_code, reason = "describes the body")]
pub(crate) struct StatusForm {
    /// `enabled` or `disabled`.
    #[schemars(extend("enum" = ["enabled", "disabled"]))]
    status: String,
}

/// A change of an endpoint.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "EndpointForm")]
#[expect(dead_code, reason = "describes the body")]
pub(crate) struct EndpointForm {
    /// Its base URL. One that the upstream does not have is added.
    url: String,
    /// `active`, `drained`: it gets no further requests, or `removed`; absent: as it was, a new one is active.
    #[schemars(extend("enum" = ["active", "drained", "removed"]))]
    #[serde(default)]
    state: Option<String>,
    /// Its share of the requests, compared with the weights of the others, from 1 to 1000; absent: as it was, of a new
    /// one 1.
    #[serde(default)]
    weight: Option<u32>,
}

/// A new key.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "RotateForm")]
#[expect(dead_code, reason = "describes the body")]
pub(crate) struct RotateForm {
    /// How long the old key still works, in seconds; absent or 0: it ends at once.
    #[schemars(range(min = 0, max = 2_592_000))]
    grace_seconds: Option<u64>,
}

/// A page of apps, newest first.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AppPage")]
pub(crate) struct AppPage {
    /// The apps.
    items: Vec<AppView>,
    /// The number of the page.
    page_num: u64,
    /// How many items a page has.
    page_size: u32,
    /// How many there are on all pages.
    total: u64,
}

impl From<Page<App>> for AppPage {
    fn from(page: Page<App>) -> Self {
        let items = page.items.into_iter().map(AppView::from).collect();
        Self { items, page_num: page.page_num, page_size: page.page_size, total: page.total }
    }
}

/// Records, newest first: a page of them, or, with `cursor`, the next part of an export.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Logs")]
pub(crate) enum Logs {
    /// A page.
    #[serde(rename_all = "camelCase")]
    Page {
        /// The records.
        items: Vec<Record>,
        /// The number of the page.
        page_num: u64,
        /// How many items a page has.
        page_size: u32,
        /// How many there are on all pages.
        total: u64,
    },
    /// A part of an export.
    #[serde(rename_all = "camelCase")]
    Part {
        /// The records.
        items: Vec<Record>,
        /// The `cursor` of the next part; `null` at the end.
        next_cursor: Option<String>,
    },
}

/// What was used.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Usage")]
pub(crate) struct Usage {
    /// One item per group.
    pub(crate) items: Vec<UsageItem>,
}

/// What was used in one group.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "UsageItem")]
pub(crate) struct UsageItem {
    /// Where the hour, the day (UTC) or the whole span starts.
    #[schemars(with = "Time")]
    start: Timestamp,
    /// The app, when grouped by app; `null` for requests without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    app_id: Group,
    /// The app's newest name in that time, when grouped by app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    org_name: Group,
    /// The model that was asked for, when grouped by model; `null` for requests that named none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    model: Group,
    /// How many requests.
    requests: u64,
    /// How many of them had a status of 400 or more, or ended otherwise than `finished` or `replied`.
    errors: u64,
    /// Tokens of their prompts.
    prompt_tokens: u64,
    /// Tokens generated.
    completion_tokens: u64,
    /// The sum of their `totalTokens`.
    total_tokens: u64,
}

/// A member that is there when it was grouped by, be it `null`.
type Group = Option<Option<String>>;

impl UsageItem {
    /// The row of an answer that is grouped so.
    pub(crate) fn of(row: UsageRow, by_app: bool, by_model: bool) -> Self {
        Self {
            start: row.start,
            app_id: by_app.then_some(row.app_id),
            org_name: by_app.then_some(row.org_name),
            model: by_model.then_some(row.model),
            requests: row.requests,
            errors: row.errors,
            prompt_tokens: row.prompt_tokens,
            completion_tokens: row.completion_tokens,
            total_tokens: row.total_tokens,
        }
    }
}

/// What a reload did.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Reloaded")]
pub(crate) struct Reloaded {
    /// What is in force now.
    pub(crate) changed: Vec<String>,
    /// What will be in force after a restart only.
    pub(crate) needs_restart: Vec<String>,
}

/// What is loaded; secrets are masked.
pub(crate) struct Loaded;

impl JsonSchema for Loaded {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Loaded".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        schemars::json_schema!({ "type": ["object", "array"], "description": "What is loaded; secrets are masked." })
    }
}

/// A time in a schema.
struct Time;

impl JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

macro_rules! documented {
    ($($name:literal: $type:ty),* $(,)?) => {
        $(impl ToSchema for $type {
            fn to_schema(_components: &mut Components) -> RefOr<Schema> {
                Ref::from_schema_name($name).into()
            }
        })*

        /// The schemas of the document, by name, as schemars writes them for JSON Schema 2020-12.
        pub(crate) fn schemas() -> Map<String, Value> {
            let settings = SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            });
            let mut generator = SchemaGenerator::new(settings);
            $(generator.subschema_for::<$type>();)*
            generator.subschema_for::<crate::problem::Details>();
            generator.subschema_for::<Record>();
            generator.take_definitions(true)
        }
    };
}

documented! {
    "App": AppView,
    "AppWithKey": AppWithKey,
    "AppForm": AppForm,
    "StatusForm": StatusForm,
    "RotateForm": RotateForm,
    "EndpointForm": EndpointForm,
    "AppPage": AppPage,
    "Logs": Logs,
    "Usage": Usage,
    "Reloaded": Reloaded,
    "Loaded": Loaded,
}
