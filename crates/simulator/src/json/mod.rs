//! JSON as vLLM writes it (key order and all) and as it reads it (Python's errors and all).

mod fields;
mod python;
mod writer;

pub(crate) use fields::{Kind, Problem, check, float, integer, listed, text_of, truth};
pub(crate) use python::{Parsed, parse};
pub(crate) use writer::Json;
