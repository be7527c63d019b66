//! `/api/apps`: apps and their keys.
//!
//! Every change is announced to the directory before the store is asked, and in force there as soon as the store
//! has acknowledged it; the caller hears so when the directory's local copy has it too. Where the caller leaves
//! midway, the directory's next poll says what came of it.

use jiff::SignedDuration;
use salvo::http::StatusCode;
use salvo::oapi::endpoint;
use salvo::{Depot, Request};
use uuid::Uuid;
use vllm_gateway_directory::Key;
use vllm_gateway_store::{App, AppChange, AppQuery, AppStatus, StoredApp};

use super::form::{self, Form};
use super::{id, state};
use crate::answer::Answer;
use crate::body;
use crate::model::{AppForm, AppPage, AppView, AppWithKey, RotateForm, StatusForm};
use crate::problem::Problem;
use crate::query::Query;
use crate::times;

/// Make an app
///
/// The answer holds its key. It is the only time that the key is shown.
#[endpoint(operation_id = "createApp", tags("apps"), request_body = AppForm,
    responses((status_code = 201, description = "The app, with its key", body = AppWithKey)))]
pub(crate) async fn create(req: &mut Request, depot: &mut Depot) -> Result<Answer, Problem> {
    let state = state(depot)?;
    Query::of(req, &[])?;
    let form = Form::of(body::fields(req).await?)?.for_a_new_app()?;
    let key = mint()?;
    let app = App {
        id: Uuid::now_v7().to_string(),
        org_name: form.org_name,
        key_prefix: key.prefix().to_owned(),
        status: AppStatus::Enabled,
        create_time: times::now(),
        expire_time: form.expire_time,
        last_used_time: None,
        remark: form.remark,
        allowed_models: form.allowed_models,
    };
    let stored = StoredApp::new(app, vec![key.stored()]);
    let change = state.directory.change(&stored.app.id).await;
    state.store.insert(&stored).await.map_err(Problem::of_change)?;
    if let Err(error) = change.apply(stored.clone()).await {
        // A key that a restart would not know gets 503 then, which is no harm.
        tracing::warn!(%error, "the new app is not in the local copy of the apps yet");
    }
    let location = format!("/api/apps/{}", stored.app.id);
    Answer::created(location, &with_key(stored, &key))
}

/// List apps
///
/// Newest first.
#[endpoint(operation_id = "listApps", tags("apps"),
    parameters(
        ("pageNum" = Option<u64>, Query, description = "The number of the page, from 1 (default 1)", minimum = 1),
        ("pageSize" = Option<u32>, Query, description = "Items on a page (default 20)", minimum = 1, maximum = 200),
        ("orgName" = Option<String>, Query, description = "A part of the organisation's name, in upper or lower case"),
        ("status" = Option<String>, Query, description = "`enabled` or `disabled`"),
    ),
    responses((status_code = 200, description = "A page of apps", body = AppPage)))]
pub(crate) async fn list(req: &mut Request, depot: &mut Depot) -> Result<Answer, Problem> {
    let state = state(depot)?;
    let query = Query::of(req, &["pageNum", "pageSize", "orgName", "status"])?;
    let (page_num, page_size) = (query.page_num()?, query.page_size()?);
    let status = query.word("status", &["enabled", "disabled"], AppStatus::from_name)?;
    let wanted = AppQuery { org_name: query.text("orgName").map(str::to_owned), status };
    Answer::json(&AppPage::from(state.store.list(&wanted, page_num, page_size).await?))
}

/// Show an app
#[endpoint(operation_id = "getApp", tags("apps"),
    parameters(("id" = String, Path, description = "The app's id")),
    responses((status_code = 200, description = "The app", body = AppView)))]
pub(crate) async fn show(req: &mut Request, depot: &mut Depot) -> Result<Answer, Problem> {
    let state = state(depot)?;
    Query::of(req, &[])?;
    let stored = state.store.get(&id(req)?).await?.ok_or_else(Problem::no_such_app)?;
    Answer::json(&AppView::from(stored.app))
}

/// Change an app
///
/// What is left out is cleared. The key and the status stay.
#[endpoint(operation_id = "updateApp", tags("apps"), request_body = AppForm,
    parameters(("id" = String, Path, description = "The app's id")),
    responses((status_code = 200, description = "The app as it is now", body = AppView)))]
pub(crate) async fn update(req: &mut Request, depot: &mut Depot) -> Result<Answer, Problem> {
    Query::of(req, &[])?;
    let form = Form::of(body::fields(req).await?)?;
    let stored = change(req, depot, form.into()).await?;
    Answer::json(&AppView::from(stored.app))
}

/// Let an app in, or not
#[endpoint(operation_id = "setAppStatus", tags("apps"), request_body = StatusForm,
    parameters(("id" = String, Path, description = "The app's id")),
    responses((status_code = 200, description = "The app as it is now", body = AppView)))]
pub(crate) async fn set_status(req: &mut Request, depot: &mut Depot) -> Result<Answer, Problem> {
    Query::of(req, &[])?;
    let status = form::status(body::fields(req).await?)?;
    let stored = change(req, depot, AppChange::Status(status)).await?;
    Answer::json(&AppView::from(stored.app))
}

/// Give an app a new key
///
/// The answer holds the new key. It is the only time that it is shown. The old one works for the grace time.
#[endpoint(operation_id = "rotateAppKey", tags("apps"), request_body(content = RotateForm),
    parameters(("id" = String, Path, description = "The app's id")),
    responses((status_code = 200, description = "The app, with its new key", body = AppWithKey)))]
pub(crate) async fn rotate(req: &mut Request, depot: &mut Depot) -> Result<Answer, Problem> {
    Query::of(req, &[])?;
    let grace = form::grace(body::optional_fields(req).await?)?;
    let key = mint()?;
    let old_valid_until = match i64::try_from(grace) {
        Ok(seconds @ 1..) => times::now().checked_add(SignedDuration::from_secs(seconds)).ok(),
        _ => None,
    };
    let stored = change(req, depot, AppChange::Rotate { new: key.stored(), old_valid_until }).await?;
    Answer::json(&with_key(stored, &key))
}

/// Delete an app
///
/// Its keys cease to work. Its records and its usage stay.
#[endpoint(operation_id = "deleteApp", tags("apps"),
    parameters(("id" = String, Path, description = "The app's id")),
    responses((status_code = 204, description = "It is gone")))]
pub(crate) async fn delete(req: &mut Request, depot: &mut Depot) -> Result<Answer, Problem> {
    let state = state(depot)?;
    Query::of(req, &[])?;
    let id = id(req)?;
    let change = state.directory.change(&id).await;
    let was_there = state.store.delete(&id).await.map_err(Problem::of_change)?;
    change.forget().await.map_err(|error| not_kept(&error))?;
    if was_there { Ok(Answer::empty()) } else { Err(Problem::no_such_app()) }
}

/// Changes the app in the path, in the store and then here.
async fn change(req: &Request, depot: &Depot, change: AppChange) -> Result<StoredApp, Problem> {
    let state = state(depot)?;
    let id = id(req)?;
    let announced = state.directory.change(&id).await;
    match state.store.update(&id, change).await.map_err(Problem::of_change)? {
        Some(stored) => {
            announced.apply(stored.clone()).await.map_err(|error| not_kept(&error))?;
            Ok(stored)
        }
        None => {
            announced.forget().await.map_err(|error| not_kept(&error))?;
            Err(Problem::no_such_app())
        }
    }
}

/// A change is acknowledged only when a restart cannot undo it, also while the store is away.
fn not_kept(error: &std::io::Error) -> Problem {
    tracing::error!(%error, "a change of an app could not be kept on the disk");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the change is stored and in force, but the gateway's local copy of the apps could neither be written nor \
         removed: a restart while the store is away would undo it; look at the disk, then make the change again",
    )
}

fn mint() -> Result<Key, Problem> {
    Key::mint().map_err(|error| {
        tracing::error!(%error, "the system has no random numbers for a key");
        Problem::internal()
    })
}

fn with_key(stored: StoredApp, key: &Key) -> AppWithKey {
    AppWithKey { app: stored.app.into(), api_key: key.expose().to_owned() }
}
