//! Repeatable randomness: the same seed and prompt give the same text.

/// A small generator (a Weyl sequence through a mixing function); good enough to choose words.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % limit).unwrap_or(0)
    }

    /// A number from -1 to 1.
    pub(crate) fn signed(&mut self) -> f64 {
        let bits = u32::try_from(self.next() >> 32).unwrap_or(0);
        f64::from(bits) / f64::from(u32::MAX) * 2.0 - 1.0
    }

    /// As many hexadecimal digits as vLLM's ids have.
    pub(crate) fn hex16(&mut self) -> String {
        format!("{:016x}", self.next())
    }
}

fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    bits = (bits ^ (bits >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    bits ^ (bits >> 32)
}

/// A number that stands for these bytes.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    hash_more(0x51_7c_c1_b7_27_22_0a_95, bytes)
}

/// Goes on hashing where `hash` left off.
pub(crate) fn hash_more(mut state: u64, bytes: &[u8]) -> u64 {
    for piece in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..piece.len()].copy_from_slice(piece);
        state = mixed(state ^ u64::from_le_bytes(word)).wrapping_add(piece.len().try_into().unwrap_or(0));
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_gives_others() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..8).map(|_| random.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn hashes_tell_trailing_zeros_apart() {
        assert_ne!(hash(b"a"), hash(b"a\0"));
        assert_ne!(hash(b""), hash(b"\0"));
    }
}
