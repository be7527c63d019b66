//! The apps that are in force, and what may replace them.
//!
//! Apps carry versions that the store counts, so of two answers about one app the later one is known, whichever
//! comes first. About an app that is not there nothing carries a version: where a poll may have crossed a local
//! change, it is asked again from the same mark.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use vllm_gateway_store::StoredApp;

use crate::entry::AppEntry;

#[derive(Default)]
pub(crate) struct Known {
    pub(crate) apps: HashMap<String, Arc<AppEntry>>,
    /// Counts the changes of `apps`.
    pub(crate) generation: u64,
    /// Apps with a local change in progress, and whether a poll has found the app gone meanwhile.
    open: HashMap<String, bool>,
    /// Apps with a local change that ended since the poll in flight began: what the poll read may be from before.
    touched: HashSet<String>,
}

/// What becomes of one thing that a poll says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// It is put in force.
    pub(crate) take: bool,
    /// It may have crossed a local change.
    pub(crate) crossed: bool,
}

impl Known {
    pub(crate) fn poll_begins(&mut self) {
        self.touched.clear();
    }

    /// A poll has read this app.
    pub(crate) fn judge(&self, stored: &StoredApp, complete: bool) -> Verdict {
        let id = &stored.app.id;
        let touched = self.touched.contains(id);
        let Some(have) = self.apps.get(id) else {
            // Perhaps it was deleted here after the poll had read it.
            return Verdict { take: !touched, crossed: touched };
        };
        let raced = touched || self.open.contains_key(id);
        let later = stored.version > have.version || stored.version == 0;
        // What is complete stands for itself: the store may have been replaced by an older copy of it.
        Verdict { take: later || (complete && !raced), crossed: raced && !later }
    }

    /// A poll has found this app gone.
    pub(crate) fn judge_gone(&mut self, id: &str) -> Verdict {
        if self.touched.contains(id) {
            // Perhaps it was made here after the poll had read what there is.
            return Verdict { take: false, crossed: true };
        }
        let open = self.open.get_mut(id);
        let crossed = open.is_some();
        if let Some(gone) = open {
            *gone = true;
        }
        // At once, also if a local change is under way: whose answer does not count any more then.
        Verdict { take: true, crossed }
    }

    pub(crate) fn open(&mut self, id: &str) {
        self.open.insert(id.to_owned(), false);
    }

    /// Whether the answer to the open change of that app is news.
    pub(crate) fn counts(&self, id: &str, version: u64) -> bool {
        let gone = self.open.get(id).is_some_and(|gone| *gone);
        !gone && self.apps.get(id).is_none_or(|have| have.version <= version)
    }

    pub(crate) fn close(&mut self, id: String) {
        self.open.remove(&id);
        // Whatever a poll in flight has read of this app may be from before.
        self.touched.insert(id);
    }
}
