#![allow(clippy::unwrap_used)]
use jiff::SignedDuration;
use tempfile::TempDir;
use vllm_gateway_store::{App, AppChange, AppStore, open_sqlite};

use super::*;
use crate::Key;

const HOUR: Duration = Duration::from_hours(1);

struct Place {
    _folder: TempDir,
    store: Arc<dyn AppStore>,
    directory: Directory,
}

impl Place {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Arc::new(open_sqlite(folder.path().join("gateway.db")).await.unwrap());
        Self { _folder: folder, store, directory: Directory::new(HOUR) }
    }

    async fn poll(&self) {
        self.directory.poll(&*self.store).await.unwrap();
    }

    async fn add(&self, id: &str) -> Key {
        let (app, key) = app(id);
        self.store.insert(&app).await.unwrap();
        key
    }

    async fn rename(&self, id: &str, name: &str) -> StoredApp {
        let change = AppChange::Details {
            org_name: name.into(),
            expire_time: None,
            remark: None,
            allowed_models: None,
        };
        self.store.update(id, change).await.unwrap().unwrap()
    }

    async fn put(&self, stored: StoredApp) {
        self.directory.change(&stored.app.id).await.apply(stored).await.unwrap();
    }

    fn says(&self, key: &Key) -> String {
        says(&self.directory, key)
    }
}

pub(crate) fn says(directory: &Directory, key: &Key) -> String {
    match directory.lookup(key.expose()) {
        Lookup::Granted(consumer) => format!("granted {}", consumer.name),
        Lookup::Disabled(_) => "disabled".into(),
        Lookup::Expired(_) => "expired".into(),
        Lookup::Unknown => "unknown".into(),
        Lookup::Unavailable => "unavailable".into(),
    }
}

pub(crate) fn app(id: &str) -> (StoredApp, Key) {
    let key = Key::mint().unwrap();
    let app = App {
        id: id.into(),
        org_name: id.into(),
        key_prefix: key.prefix().into(),
        status: AppStatus::Enabled,
        create_time: Timestamp::now(),
        expire_time: None,
        last_used_time: None,
        remark: None,
        allowed_models: None,
    };
    (StoredApp::new(app, vec![key.stored()]), key)
}

#[tokio::test]
async fn before_the_first_load_there_is_neither_yes_nor_no() {
    let place = Place::new().await;
    let key = place.add("one").await;
    assert!(!place.directory.is_ready());
    assert_eq!(place.says(&key), "unavailable");
    assert!(matches!(place.directory.lookup(""), Lookup::Unknown), "what cannot be a key is nobody's");
    place.poll().await;
    assert!(place.directory.is_ready());
    assert_eq!(place.says(&key), "granted one");
    assert_eq!(place.says(&Key::mint().unwrap()), "unknown");
}

#[tokio::test]
async fn status_expiry_and_deletion_are_seen_with_the_next_poll() {
    let place = Place::new().await;
    let key = place.add("one").await;
    place.store.update("one", AppChange::Status(AppStatus::Disabled)).await.unwrap();
    place.poll().await;
    assert_eq!(place.says(&key), "disabled");
    place.store.update("one", AppChange::Status(AppStatus::Enabled)).await.unwrap();
    let past = Some(Timestamp::now() - SignedDuration::from_secs(1));
    let change =
        AppChange::Details { org_name: "one".into(), expire_time: past, remark: None, allowed_models: None };
    place.store.update("one", change).await.unwrap();
    place.poll().await;
    assert_eq!(place.says(&key), "expired");
    place.store.delete("one").await.unwrap();
    place.poll().await;
    assert_eq!(place.says(&key), "unknown");
    assert!(place.directory.is_empty());
}

#[tokio::test]
async fn expiry_is_judged_by_the_clock_at_the_lookup() {
    let place = Place::new().await;
    place.poll().await;
    let (mut stored, key) = app("one");
    let end = Timestamp::now() + SignedDuration::from_millis(300);
    stored.app.expire_time = Some(end);
    place.put(stored).await;
    assert_eq!(place.says(&key), "granted one");
    while Timestamp::now() < end {
        tokio::task::yield_now().await;
    }
    assert_eq!(place.says(&key), "expired");
}

#[tokio::test]
async fn both_keys_work_during_the_grace_time_and_the_old_one_is_unknown_after_it() {
    let place = Place::new().await;
    let old = place.add("one").await;
    let new = Key::mint().unwrap();
    let end = Timestamp::now() + SignedDuration::from_millis(400);
    let change = AppChange::Rotate { new: new.stored(), old_valid_until: Some(end) };
    place.store.update("one", change).await.unwrap();
    place.poll().await;
    assert_eq!((place.says(&old), place.says(&new)), ("granted one".into(), "granted one".into()));
    let Lookup::Granted(by_old) = place.directory.lookup(old.expose()) else { panic!("the old key works") };
    assert_eq!(by_old.key_prefix, old.prefix(), "the record names the key that was used");
    while Timestamp::now() < end {
        tokio::task::yield_now().await;
    }
    assert_eq!((place.says(&old), place.says(&new)), ("unknown".into(), "granted one".into()));
}

#[tokio::test]
async fn a_poll_in_flight_does_not_undo_a_local_change() {
    let place = Place::new().await;
    let key = place.add("one").await;
    let begun = place.directory.poll_begins();
    let old = place.store.changes(&ChangeMark::start()).await.unwrap();

    let change = place.directory.change("one").await;
    let disabled = place.store.update("one", AppChange::Status(AppStatus::Disabled)).await.unwrap().unwrap();
    change.apply(disabled).await.unwrap();
    assert!(!place.directory.poll_ends(begun, old), "the poll must be repeated from its mark");
    assert_eq!(place.says(&key), "disabled");
}

#[tokio::test]
async fn a_poll_in_flight_neither_brings_back_a_deleted_app_nor_drops_a_new_one() {
    let place = Place::new().await;
    let deleted = place.add("deleted").await;
    place.poll().await;
    let begun = place.directory.poll_begins();
    let old = place.store.changes(&ChangeMark::start()).await.unwrap();
    assert!(old.complete);

    let change = place.directory.change("deleted").await;
    place.store.delete("deleted").await.unwrap();
    change.forget().await.unwrap();
    let (stored, new) = app("new");
    place.store.insert(&stored).await.unwrap();
    place.put(stored).await;

    assert!(!place.directory.poll_ends(begun, old));
    assert_eq!((place.says(&deleted), place.says(&new)), ("unknown".into(), "granted new".into()));
    place.poll().await;
    assert_eq!((place.says(&deleted), place.says(&new)), ("unknown".into(), "granted new".into()));
}

#[tokio::test]
async fn a_poll_that_read_before_an_unfinished_change_is_passed_over_too() {
    let place = Place::new().await;
    let key = place.add("one").await;
    place.poll().await;
    let change = place.directory.change("one").await;
    let begun = place.directory.poll_begins();
    let old = place.store.changes(&ChangeMark::start()).await.unwrap();
    let renamed = place.rename("one", "renamed").await;
    assert!(!place.directory.poll_ends(begun, old));
    change.apply(renamed).await.unwrap();
    assert_eq!(place.says(&key), "granted renamed");
}

#[tokio::test]
async fn a_local_change_that_hangs_holds_up_nothing_that_was_changed_elsewhere() {
    let place = Place::new().await;
    let key = place.add("one").await;
    place.poll().await;
    let hanging = place.directory.change("one").await;
    // Another gateway disables, while the store does not answer this one.
    let disabled = place.store.update("one", AppChange::Status(AppStatus::Disabled)).await.unwrap().unwrap();
    place.poll().await;
    assert_eq!(place.says(&key), "disabled");
    // The answer comes at last, of a change that was made before.
    let older = StoredApp { version: disabled.version - 1, ..disabled };
    let mut enabled = older.clone();
    enabled.app.status = AppStatus::Enabled;
    hanging.apply(enabled).await.unwrap();
    assert_eq!(place.says(&key), "disabled", "the later change stays");
}

#[tokio::test]
async fn an_answer_that_comes_after_the_apps_deletion_does_not_bring_it_back() {
    let place = Place::new().await;
    let key = place.add("one").await;
    place.poll().await;
    let hanging = place.directory.change("one").await;
    let renamed = place.rename("one", "renamed").await;
    place.store.delete("one").await.unwrap();
    place.poll().await;
    assert_eq!(place.says(&key), "unknown", "the deletion counts although a change is under way");
    hanging.apply(renamed).await.unwrap();
    assert_eq!(place.says(&key), "unknown");
    place.poll().await;
    assert_eq!(place.says(&key), "unknown");
}

#[tokio::test]
async fn a_poll_that_took_its_time_does_not_undo_what_came_later() {
    let place = Place::new().await;
    let (disabled, rotated) = (place.add("disabled").await, place.add("rotated").await);
    let deleted = place.add("deleted").await;
    place.poll().await;
    // Everything changes once, and a slow poll reads that; it is all changed again before the poll is through.
    let mark = place.directory.mark.lock().await.clone();
    for id in ["disabled", "rotated", "deleted"] {
        place.rename(id, "renamed").await;
    }
    let begun = place.directory.poll_begins();
    let slow = place.store.changes(&mark).await.unwrap();
    assert!(!slow.complete && slow.upserts.len() == 3);
    let disable = AppChange::Status(AppStatus::Disabled);
    let new = Key::mint().unwrap();
    let rotate = AppChange::Rotate { new: new.stored(), old_valid_until: None };
    for (id, change) in [("disabled", disable), ("rotated", rotate)] {
        let local = place.directory.change(id).await;
        let stored = place.store.update(id, change).await.unwrap().unwrap();
        local.apply(stored).await.unwrap();
    }
    let local = place.directory.change("deleted").await;
    place.store.delete("deleted").await.unwrap();
    local.forget().await.unwrap();
    let all = || [&disabled, &rotated, &new, &deleted].map(|key| place.says(key));
    let now = ["disabled", "unknown", "granted renamed", "unknown"];
    assert_eq!(all(), now);
    place.directory.poll_ends(begun, slow);
    assert_eq!(all(), now, "after the slow poll");
    place.poll().await;
    assert_eq!(all(), now, "after the next one");
}

#[tokio::test]
async fn changes_and_polls_in_any_order_end_with_what_the_store_has() {
    let place = Place::new().await;
    let key = place.add("one").await;
    place.poll().await;
    // The change, its answer, the poll's reading and its end, in each order in which they can come.
    let orders = ["cars", "cras", "crsa", "rcas", "rcsa", "rsca", "carRsS", "rcRaSs"];
    for (round, order) in orders.into_iter().enumerate() {
        let status = if round % 2 == 0 { AppStatus::Disabled } else { AppStatus::Enabled };
        let mut change = Some(place.directory.change("one").await);
        let (mut changed, mut read) = (None, Vec::new());
        for step in order.chars() {
            match step {
                'c' => changed = place.store.update("one", AppChange::Status(status)).await.unwrap(),
                'a' => change.take().unwrap().apply(changed.take().unwrap()).await.unwrap(),
                'r' | 'R' => {
                    let begun = place.directory.poll_begins();
                    let mark = place.directory.mark.lock().await.clone();
                    read.push((begun, place.store.changes(&mark).await.unwrap()));
                }
                _ => {
                    let (begun, changes) = read.remove(0);
                    let next = changes.mark.clone();
                    if place.directory.poll_ends(begun, changes) {
                        *place.directory.mark.lock().await = next;
                    }
                }
            }
            if change.is_none() {
                let wanted = if status == AppStatus::Disabled { "disabled" } else { "granted one" };
                assert_eq!(place.says(&key), wanted, "{order} at {step}");
            }
        }
        place.poll().await;
        let wanted = if status == AppStatus::Disabled { "disabled" } else { "granted one" };
        assert_eq!(place.says(&key), wanted, "{order}, in the end");
    }
}

#[tokio::test]
async fn a_store_that_was_replaced_by_an_older_copy_is_believed() {
    let place = Place::new().await;
    let key = place.add("one").await;
    let older = place.store.changes(&ChangeMark::start()).await.unwrap();
    place.store.update("one", AppChange::Status(AppStatus::Disabled)).await.unwrap();
    place.poll().await;
    assert_eq!(place.says(&key), "disabled");
    let begun = place.directory.poll_begins();
    assert!(place.directory.poll_ends(begun, older));
    assert_eq!(place.says(&key), "granted one");
}

#[tokio::test]
async fn local_changes_of_one_app_wait_for_each_other() {
    let place = Place::new().await;
    let first = place.directory.change("one").await;
    let mut second = Box::pin(place.directory.change("one"));
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(first);
    second.await.forget().await.unwrap();
}

#[tokio::test]
async fn known_keys_outlive_the_store_up_to_the_staleness_bound_and_no_longer() {
    let mut place = Place::new().await;
    let key = place.add("one").await;
    place.directory.freshness = Freshness::new(Duration::from_millis(150));
    place.poll().await;
    assert_eq!(place.says(&key), "granted one");
    assert_eq!(place.says(&Key::mint().unwrap()), "unknown");
    while place.directory.is_ready() {
        tokio::task::yield_now().await;
    }
    assert_eq!(place.says(&key), "unavailable");
    assert_eq!(place.says(&Key::mint().unwrap()), "unavailable");
    place.poll().await;
    assert_eq!(place.says(&key), "granted one");
}

#[tokio::test]
async fn beyond_the_bound_nothing_is_said_that_may_have_changed() {
    let mut place = Place::new().await;
    let (disabled, ended) = (place.add("one").await, place.add("two").await);
    place.store.update("one", AppChange::Status(AppStatus::Disabled)).await.unwrap();
    let rotate = AppChange::Rotate {
        new: Key::mint().unwrap().stored(),
        old_valid_until: Some(Timestamp::now() + SignedDuration::from_millis(1)),
    };
    place.store.update("two", rotate).await.unwrap();
    place.directory.freshness = Freshness::new(Duration::from_millis(50));
    place.poll().await;
    while place.directory.is_ready() {
        tokio::task::yield_now().await;
    }
    assert_eq!(place.says(&disabled), "unavailable", "it may be enabled by now");
    assert_eq!(place.says(&ended), "unknown", "that a grace time is over stays true");
}

#[tokio::test]
async fn a_key_that_is_not_known_is_nobodys_only_while_the_store_answers() {
    let place = Place::new().await;
    let known = place.add("one").await;
    place.poll().await;
    let unknown = Key::mint().unwrap();
    assert_eq!(place.says(&unknown), "unknown");
    let folder = TempDir::new().unwrap();
    let closed = open_sqlite(folder.path().join("closed.db")).await.unwrap();
    vllm_gateway_store::Store::close(&closed).await;
    assert!(place.directory.poll(&closed).await.is_err());
    assert_eq!((place.says(&unknown), place.says(&known)), ("unavailable".into(), "granted one".into()));
    place.poll().await;
    assert_eq!(place.says(&unknown), "unknown");
}

#[tokio::test]
async fn uses_are_told_to_the_store_once_and_survive_a_change_of_the_app() {
    let place = Place::new().await;
    let key = place.add("one").await;
    place.add("unused").await;
    place.poll().await;
    let before = Timestamp::now();
    assert_eq!(place.says(&key), "granted one");
    place.rename("one", "renamed").await;
    place.poll().await;
    assert_eq!(place.directory.untold_uses().len(), 1);
    place.directory.tell_uses(&*place.store).await.unwrap();
    assert_eq!(place.directory.untold_uses().len(), 0);
    let used = place.store.get("one").await.unwrap().unwrap().app.last_used_time.unwrap();
    assert!(used >= before - SignedDuration::from_millis(1), "{used} is before {before}");
    assert_eq!(place.store.get("unused").await.unwrap().unwrap().app.last_used_time, None);
}

#[tokio::test]
async fn refused_keys_do_not_count_as_uses() {
    let place = Place::new().await;
    let key = place.add("one").await;
    place.store.update("one", AppChange::Status(AppStatus::Disabled)).await.unwrap();
    place.poll().await;
    assert_eq!(place.says(&key), "disabled");
    assert!(place.directory.untold_uses().is_empty());
}

#[tokio::test]
async fn sync_loads_and_follows_by_itself() {
    let place = Place::new().await;
    let key = place.add("one").await;
    let following = async {
        while place.says(&key) != "granted one" {
            tokio::task::yield_now().await;
        }
        place.rename("one", "renamed").await;
        while place.says(&key) != "granted renamed" {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(5), following);
    tokio::select! {
        () = place.directory.sync(&*place.store) => panic!("sync never ends"),
        result = in_time => result.unwrap(),
    }
}
