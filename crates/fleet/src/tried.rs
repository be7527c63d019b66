//! Which servers a request has been at.

/// A set of small numbers; up to 64 take no memory of their own.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    first: u64,
    more: Vec<u64>,
}

impl Tried {
    /// Adds the server with this index.
    pub fn add(&mut self, index: usize) {
        let (word, bit) = (index / 64, 1 << (index % 64));
        match word.checked_sub(1) {
            None => self.first |= bit,
            Some(word) => {
                if self.more.len() <= word {
                    self.more.resize(word + 1, 0);
                }
                self.more[word] |= bit;
            }
        }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.first == 0 && self.more.is_empty()
    }

    /// Whether it was added.
    pub fn has(&self, index: usize) -> bool {
        let (word, bit) = (index / 64, 1 << (index % 64));
        let bits = match word.checked_sub(1) {
            None => self.first,
            Some(word) => self.more.get(word).copied().unwrap_or_default(),
        };
        bits & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_was_added_and_nothing_else() {
        let mut tried = Tried::default();
        for index in [0, 63, 64, 200] {
            assert!(!tried.has(index));
            tried.add(index);
            assert!(tried.has(index));
        }
        assert_eq!((0..300).filter(|index| tried.has(*index)).count(), 4);
    }
}
