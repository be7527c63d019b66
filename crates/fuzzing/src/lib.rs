//! Fuzzing without a fuzzer: a corpus, seeded mutations of it, and a watch that finds inputs that never end.
//!
//! What is asked of each parser is a function of its own crate (`fuzz` there, behind the feature `fuzzing`). libFuzzer
//! calls it from `fuzz/`; here an ordinary test does, on the stable toolchain, for seconds: see `tests/targets`.

mod corpus;
mod drive;
mod mutate;

pub use corpus::{corpus, write_corpus};
pub use drive::drive;
