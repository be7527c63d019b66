//! Log probabilities: made up, repeatable, and of the shape that is recorded.

use crate::json::Json;
use crate::text::{Random, append, hash, words};

/// The log probability of a token: that of a model that knows nothing, give or take a little.
pub(crate) fn logprob(id: u32) -> f64 {
    -6.931_47 - Random::new(hash(&id.to_le_bytes())).signed().abs() * 1e-5
}

/// Tokens that might have come instead.
pub(crate) fn rivals(id: u32, count: usize) -> Vec<u32> {
    let (first, words) = words();
    let mut random = Random::new(u64::from(id));
    (0..count).map(|_| first + u32::try_from(random.below(words.len())).unwrap_or(0)).collect()
}

/// The bytes of a token as a list of numbers.
pub(crate) fn put_bytes(json: &mut Json, id: u32) {
    let mut bytes = Vec::new();
    append(id, &mut bytes);
    json.put_list(bytes, |json, byte| {
        json.put_number(usize::from(byte));
    });
}
