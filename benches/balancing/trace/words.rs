//! Text that is read by nobody: common words, each a token of the simulated vLLM.

use crate::random::Random;

const WORDS: [&str; 64] = [
    "the", "of", "and", "to", "a", "in", "is", "you", "that", "it", "for", "on", "with", "as", "are", "this",
    "be", "at", "or", "from", "one", "had", "by", "word", "but", "not", "what", "all", "were", "we", "when",
    "your", "can", "said", "there", "use", "an", "each", "which", "she", "do", "how", "their", "if", "will",
    "up", "other", "about", "out", "many", "then", "them", "these", "so", "some", "her", "would", "make",
    "like", "him", "into", "time", "has", "look",
];

/// So many words.
pub(super) fn text(random: &mut Random, words: usize) -> String {
    let drawn: Vec<&str> = (0..words).map(|_| WORDS[random.between(0, WORDS.len() - 1)]).collect();
    drawn.join(" ")
}
