//! Repeatable randomness: the same seed is the same trace on every machine.

/// A generator that needs a seed and nothing else.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x6a09_e667_f3bc_c908)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From 0 up to 1, without it.
    pub(crate) fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Any of these with the same chance, both ends included.
    pub(crate) fn between(&mut self, least: usize, most: usize) -> usize {
        least + (self.part() * (most - least + 1) as f64) as usize
    }

    /// How long until the next of events that know nothing of each other, in seconds.
    pub(crate) fn gap(&mut self, per_second: f64) -> f64 {
        -(1.0 - self.part()).ln() / per_second
    }
}

/// Ranks of which the first is twice as frequent as the second, three times as the third.
pub(crate) struct Zipf(Vec<f64>);

impl Zipf {
    pub(crate) fn new(ranks: usize) -> Self {
        let mut sum = 0.0;
        let sums: Vec<f64> = (1..=ranks)
            .map(|rank| {
                sum += 1.0 / rank as f64;
                sum
            })
            .collect();
        Self(sums.iter().map(|part| part / sum).collect())
    }

    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let part = random.part();
        self.0.partition_point(|up_to| *up_to <= part).min(self.0.len() - 1)
    }
}
