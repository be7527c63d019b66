//! Which store the apps are of: one that was lost and made anew says truly that it has no apps, and must not be believed.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vllm_gateway_store::StoreError;

/// A store, by the name that it has given itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OfStore {
    pub(crate) identity: String,
    /// How many of its apps were known, be it by an earlier process.
    pub(crate) apps: usize,
}

/// The store that the apps are of, once that is known.
#[derive(Default)]
pub(crate) struct Home(Mutex<Option<OfStore>>);

impl Home {
    /// What the local copy says.
    pub(crate) fn restored(&self, of: Option<OfStore>) {
        *self.lock() = of;
    }

    /// What the store calls itself.
    pub(crate) fn identity(&self) -> Option<String> {
        self.lock().as_ref().map(|of| of.identity.clone())
    }

    /// Takes the store of that name for the one that the apps are of, where none are known, or it is. `known` is how
    /// many there are in memory, `copy` the file that would go on telling of them.
    pub(crate) fn recognise(
        &self,
        identity: &str,
        known: usize,
        copy: Option<&Path>,
    ) -> Result<(), StoreError> {
        let mut home = self.lock();
        if let Some(of) = home.as_ref().filter(|of| of.identity != identity) {
            let apps = of.apps.max(known);
            if apps > 0 {
                return Err(stranger(&of.identity, identity, apps, copy));
            }
        }
        *home = Some(OfStore { identity: identity.to_owned(), apps: 0 });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<OfStore>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stranger(was: &str, is: &str, apps: usize, copy: Option<&Path>) -> StoreError {
    let (s, are) = if apps == 1 { ("", "is") } else { ("s", "are") };
    let mut message = format!(
        "this is another store than the one whose {apps} app{s} {are} known here: that one is {was}, this one {is}. If \
         the database was lost, emptied or is not mounted, bring it back"
    );
    if let Some(copy) = copy {
        let _ = write!(
            message,
            "; if it is another one on purpose, move {} away while no gateway runs, and start again",
            copy.display()
        );
    }
    StoreError::Invalid { message, source: None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_store_of_another_name_is_taken_only_where_no_apps_are_known() {
        let home = Home::default();
        home.recognise("one", 0, None).unwrap();
        home.recognise("two", 0, None).unwrap();
        home.recognise("two", 3, None).unwrap();
        let error = home.recognise("three", 3, Some(Path::new("data/apps.json"))).unwrap_err().to_string();
        assert!(error.contains("3 apps") && error.contains("data/apps.json"), "{error}");
        assert_eq!(home.identity().as_deref(), Some("two"));
    }

    #[test]
    fn apps_that_only_the_copy_knows_count_until_their_store_has_been_met() {
        let home = Home::default();
        home.restored(Some(OfStore { identity: "one".into(), apps: 2 }));
        assert!(home.recognise("two", 0, None).is_err());
        home.recognise("one", 0, None).unwrap();
        home.recognise("two", 0, None).unwrap();
    }
}
