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

    fn says(&self, key: &Key) -> String {
        match self.directory.lookup(key.expose()) {
            Lookup::Granted(consumer) => format!("granted {}", consumer.name),
            Lookup::Disabled(_) => "disabled".into(),
            Lookup::Expired(_) => "expired".into(),
            Lookup::Unknown => "unknown".into(),
            Lookup::Unavailable => "unavailable".into(),
        }
    }
}

fn app(id: &str) -> (StoredApp, Key) {
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
    (StoredApp { app, keys: vec![key.stored()] }, key)
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
    place.directory.apply(stored);
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
    change.apply(disabled);
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
    change.forget();
    let (stored, new) = app("new");
    place.store.insert(&stored).await.unwrap();
    place.directory.apply(stored);

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
    change.apply(renamed);
    assert_eq!(place.says(&key), "granted renamed");
}

#[tokio::test]
async fn what_a_poll_passed_over_is_told_by_the_next_one() {
    let place = Place::new().await;
    let key = place.add("one").await;
    place.poll().await;
    // Another gateway renames, this one's change fails in between: the poll must not lose the other's change.
    place.rename("one", "by another").await;
    let begun = place.directory.poll_begins();
    let mark = place.directory.mark.lock().await.clone();
    let changes = place.store.changes(&mark).await.unwrap();
    drop(place.directory.change("one").await);
    assert!(!place.directory.poll_ends(begun, changes));
    assert_eq!(place.says(&key), "granted one");
    place.poll().await;
    assert_eq!(place.says(&key), "granted by another");
}

#[tokio::test]
async fn local_changes_of_one_app_wait_for_each_other() {
    let place = Place::new().await;
    let first = place.directory.change("one").await;
    let mut second = Box::pin(place.directory.change("one"));
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(first);
    second.await.forget();
}

#[tokio::test]
async fn known_keys_outlive_the_store_up_to_the_staleness_bound_and_no_longer() {
    let mut place = Place::new().await;
    let key = place.add("one").await;
    place.directory.staleness = Duration::from_millis(150);
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
