//! Rotating keys: grace times, and many at once.

use jiff::Timestamp;
use vllm_gateway_store::{AppChange, AppKey, MAX_KEYS, StoreError, StoredApp};

use super::fixture::{Fixture, app, key, millis, now};

async fn rotate(fixture: &Fixture, id: &str, new: &AppKey, until: Option<Timestamp>) -> StoredApp {
    let change = AppChange::Rotate { new: new.clone(), old_valid_until: until };
    fixture.store.update(id, change).await.unwrap().unwrap()
}

pub async fn the_old_key_works_for_its_grace_time(fixture: &Fixture) {
    let stored = app("Acme");
    fixture.store.insert(&stored).await.unwrap();
    let (new, until) = (key(), now() + millis(60_000));
    let rotated = rotate(fixture, &stored.app.id, &new, Some(until)).await;
    let old = AppKey { valid_until: Some(until), ..stored.keys[0].clone() };
    assert_eq!(rotated.keys, [new.clone(), old]);
    assert_eq!(rotated.app.key_prefix, new.prefix);
    assert_eq!(fixture.other.get(&stored.app.id).await.unwrap(), Some(rotated));
}

pub async fn without_a_grace_time_only_the_new_key_is_left(fixture: &Fixture) {
    let stored = app("Acme");
    fixture.store.insert(&stored).await.unwrap();
    let (first, second) = (key(), key());
    rotate(fixture, &stored.app.id, &first, Some(now() + millis(60_000))).await;
    assert_eq!(rotate(fixture, &stored.app.id, &second, None).await.keys, [second]);
    // A grace time that is over already is none.
    let third = key();
    assert_eq!(rotate(fixture, &stored.app.id, &third, Some(now() - millis(1))).await.keys, [third]);
}

pub async fn a_rotation_never_lengthens_the_life_of_a_key(fixture: &Fixture) {
    let stored = app("Acme");
    fixture.store.insert(&stored).await.unwrap();
    let (soon, late) = (now() + millis(60_000), now() + millis(3_600_000));
    rotate(fixture, &stored.app.id, &key(), Some(soon)).await;
    let rotated = rotate(fixture, &stored.app.id, &key(), Some(late)).await;
    let ends: Vec<_> = rotated.keys.iter().map(|key| key.valid_until).collect();
    assert_eq!(ends, [None, Some(late), Some(soon)]);
}

pub async fn a_key_that_is_taken_cannot_become_the_new_one(fixture: &Fixture) {
    let (mine, theirs) = (app("mine"), app("theirs"));
    fixture.store.insert(&mine).await.unwrap();
    fixture.store.insert(&theirs).await.unwrap();
    for taken in [&mine.keys[0], &theirs.keys[0]] {
        let change = AppChange::Rotate { new: taken.clone(), old_valid_until: None };
        let error = fixture.store.update(&mine.app.id, change).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
    }
    assert_eq!(fixture.store.get(&mine.app.id).await.unwrap(), Some(mine));
}

pub async fn one_rotation_too_many_is_refused(fixture: &Fixture) {
    let stored = app("Acme");
    fixture.store.insert(&stored).await.unwrap();
    let until = now() + millis(60_000);
    for _ in 1..MAX_KEYS {
        rotate(fixture, &stored.app.id, &key(), Some(until)).await;
    }
    let change = AppChange::Rotate { new: key(), old_valid_until: Some(until) };
    let error = fixture.store.update(&stored.app.id, change).await.unwrap_err();
    assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
    assert_eq!(rotate(fixture, &stored.app.id, &key(), None).await.keys.len(), 1);
}

pub async fn rotations_at_the_same_time_all_happen(fixture: &Fixture) {
    let stored = app("Acme");
    fixture.store.insert(&stored).await.unwrap();
    let until = now() + millis(60_000);
    let new: Vec<AppKey> = (0..8).map(|_| key()).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for (number, new) in new.iter().cloned().enumerate() {
        let store = if number % 2 == 0 { fixture.store.clone() } else { fixture.other.clone() };
        let id = stored.app.id.clone();
        let change = AppChange::Rotate { new, old_valid_until: Some(until) };
        tasks.spawn(async move { store.update(&id, change).await.unwrap().unwrap() });
    }
    tasks.join_all().await;
    let end = fixture.store.get(&stored.app.id).await.unwrap().unwrap();
    assert_eq!(end.keys.len(), 9);
    assert_eq!(end.app.key_prefix, end.keys[0].prefix);
    assert!(new.iter().all(|new| end.keys.iter().any(|key| key.digest == new.digest)));
    assert_eq!(end.keys.iter().filter(|key| key.valid_until.is_none()).count(), 1);
}
