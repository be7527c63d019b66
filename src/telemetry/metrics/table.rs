//! A table that is read far more often than it grows: looking up takes no lock, adding copies the table.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

/// What stands in a [`Table`].
pub(super) trait Named {
    /// The two labels that it is found by.
    fn name(&self) -> (&str, &str);
}

/// Rows by two labels, in their order. Rows are never taken out: a counter that vanished would look like a restart. So they
/// live as long as the process, and who holds one counts nowhere that it does.
pub(super) struct Table<T: 'static> {
    rows: ArcSwap<Vec<&'static T>>,
    growing: Mutex<()>,
}

impl<T: 'static> Default for Table<T> {
    fn default() -> Self {
        Self { rows: ArcSwap::default(), growing: Mutex::default() }
    }
}

impl<T: Named + 'static> Table<T> {
    /// The row of these labels, if there is one. Compares strings a few times; nothing is hashed or allocated.
    pub(super) fn find(&self, one: &str, other: &str) -> Option<&'static T> {
        let rows = self.rows.load();
        let at = place(&rows, one, other).ok()?;
        rows.get(at).copied()
    }

    /// The row of these labels, made if it is missing.
    pub(super) fn get(&self, one: &str, other: &str, make: impl FnOnce() -> T) -> &'static T {
        self.find(one, other).unwrap_or_else(|| self.add(one, other, make))
    }

    /// All rows.
    pub(super) fn rows(&self) -> Arc<Vec<&'static T>> {
        self.rows.load_full()
    }

    fn add(&self, one: &str, other: &str, make: impl FnOnce() -> T) -> &'static T {
        let _one_at_a_time = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = self.rows.load_full();
        match place(&rows, one, other) {
            Ok(at) => rows[at],
            Err(at) => {
                let row: &'static T = Box::leak(Box::new(make()));
                let mut grown = Vec::clone(&rows);
                grown.insert(at, row);
                self.rows.store(Arc::new(grown));
                row
            }
        }
    }
}

fn place<T: Named>(rows: &[&T], one: &str, other: &str) -> Result<usize, usize> {
    rows.binary_search_by(|row| row.name().cmp(&(one, other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Row(String, String);

    impl Named for Row {
        fn name(&self) -> (&str, &str) {
            (&self.0, &self.1)
        }
    }

    fn get(table: &Table<Row>, one: &str, other: &str) -> &'static Row {
        table.get(one, other, || Row(one.into(), other.into()))
    }

    #[test]
    fn labels_that_read_the_same_when_joined_are_different_rows() {
        let table = Table::default();
        let names = [("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", "")];
        for (one, other) in names {
            assert_eq!(get(&table, one, other).name(), (one, other));
        }
        assert_eq!(table.rows().len(), 4);
        assert!(table.find("a", "b").is_none());
    }

    #[test]
    fn threads_that_add_the_same_row_at_once_get_one() {
        let table = Table::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|n| _ = get(&table, "a", &(n % 50).to_string())));
            }
        });
        let rows = table.rows();
        assert_eq!(rows.len(), 50);
        assert!(rows.is_sorted_by(|one, other| one.name() < other.name()));
    }
}
