//! What of a request its server may depend on.

use twox_hash::XxHash64;

/// Where a prompt's beginnings end that are told apart, in bytes: each half as long again as the one before, or a third.
/// So of what two prompts share, at least two thirds are found.
const BOUNDS: [usize; 17] = [
    256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12_288, 16_384, 24_576, 32_768, 49_152,
    65_536,
];

/// What of a request its server may depend on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Key {
    beginnings: [u64; BOUNDS.len()],
    depth: usize,
    session: Option<u64>,
    work: u32,
}

impl Key {
    /// That of a request which says to whom it belongs.
    #[must_use]
    pub fn session(mut self, name: &[u8]) -> Self {
        self.session = Some(hash(name));
        self
    }

    /// That of a request with a prompt.
    #[must_use]
    pub fn prompt(mut self, prompt: &PrefixHasher) -> Self {
        (self.beginnings, self.depth) = (prompt.beginnings, prompt.depth);
        self
    }

    /// That of a request of so many bytes.
    #[must_use]
    pub fn work(mut self, bytes: u32) -> Self {
        self.work = bytes;
        self
    }

    /// How many bytes it has, where that was said; at least 1.
    pub fn bytes(&self) -> u32 {
        self.work.max(1)
    }

    /// The hashes of its prompt's beginnings, the shortest first; of a short prompt there are none.
    pub(crate) fn beginnings(&self) -> &[u64] {
        self.beginnings.get(..self.depth).unwrap_or_default()
    }

    pub(crate) fn session_hash(&self) -> Option<u64> {
        self.session
    }
}

/// Reads a prompt, piece by piece, and hashes its beginnings.
#[derive(Clone, Debug, Default)]
pub struct PrefixHasher {
    beginnings: [u64; BOUNDS.len()],
    depth: usize,
    /// Bytes up to the last boundary that was reached, and those behind it that came in earlier pieces.
    reached: usize,
    begun: Vec<u8>,
}

impl PrefixHasher {
    /// Reads the next piece. What is beyond the longest beginning is not looked at.
    pub fn feed(&mut self, mut piece: &[u8]) {
        while let Some(bound) = BOUNDS.get(self.depth) {
            let missing = bound - self.reached - self.begun.len();
            let Some((block, rest)) = piece.split_at_checked(missing) else {
                self.begun.extend_from_slice(piece);
                return;
            };
            if self.begun.is_empty() {
                self.add(block);
            } else {
                let mut whole = std::mem::take(&mut self.begun);
                whole.extend_from_slice(block);
                self.add(&whole);
            }
            (self.reached, piece) = (*bound, rest);
        }
    }

    /// Whether more bytes would change nothing.
    pub fn is_full(&self) -> bool {
        self.depth == BOUNDS.len()
    }

    fn add(&mut self, block: &[u8]) {
        let before = self.depth.checked_sub(1).and_then(|last| self.beginnings.get(last)).copied();
        if let Some(next) = self.beginnings.get_mut(self.depth) {
            *next = XxHash64::oneshot(before.unwrap_or_default(), block);
            self.depth += 1;
        }
    }
}

/// A hash that is the same in every gateway and every version of it.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}

/// Mixes two hashes into one (the end of Murmur3's).
pub(crate) fn mix(one: u64, other: u64) -> u64 {
    let mut hash = one ^ other.rotate_left(32);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Key {
        let mut hasher = PrefixHasher::default();
        pieces.iter().for_each(|piece| hasher.feed(piece));
        Key::default().prompt(&hasher)
    }

    #[test]
    fn two_prompts_share_as_many_beginnings_as_they_have_in_common() {
        let one = vec![b'a'; 2000];
        let mut other = one.clone();
        other[1100] = b'b';
        let (one, other) = (read(&[&one]), read(&[&other]));
        assert_eq!((one.beginnings().len(), other.beginnings().len()), (6, 6));
        assert_eq!(one.beginnings()[..5], other.beginnings()[..5]);
        assert_ne!(one.beginnings()[5], other.beginnings()[5]);
    }

    #[test]
    fn a_short_prompt_has_none_and_a_long_one_no_more_than_there_are() {
        assert!(read(&[&[b'a'; 255]]).beginnings().is_empty());
        assert_eq!(read(&[&vec![b'a'; 1 << 20]]).beginnings().len(), BOUNDS.len());
    }

    proptest! {
        #[test]
        fn it_does_not_matter_in_which_pieces_a_prompt_comes(
            prompt in proptest::collection::vec(any::<u8>(), 0..3000),
            cuts in proptest::collection::vec(0usize..3000, 0..6),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(prompt.len())).collect();
            cuts.extend([0, prompt.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &prompt[cut[0]..cut[1]]).collect();
            let (one, other) = (read(&pieces), read(&[&prompt]));
            prop_assert_eq!(one.beginnings(), other.beginnings());
        }
    }
}
