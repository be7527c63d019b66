//! Tokens: a simple deterministic tokenizer and the words that answers are made of.
//!
//! It is **not** the tokenizer of any model. A known word is one token, anything else one token for every
//! three bytes. Counts are repeatable and of a plausible size, and [`tokenize`] can be undone.

mod random;
mod tokenizer;
mod vocabulary;

pub(crate) use random::{Random, hash, hash_more};
pub(crate) use tokenizer::{append, decode, tokenize};
pub(crate) use vocabulary::{FIRST_WORD, words};
