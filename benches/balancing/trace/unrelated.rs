//! Requests that have nothing in common, and answers of which a few are long: no cache helps, only who is busy counts.

use std::time::Duration;

use super::{Arrival, body, words::text};
use crate::random::Random;

const QUESTION: (usize, usize) = (60, 120);
const ANSWER: (usize, usize) = (10, 50);
const LONG_ANSWER: (usize, usize) = (200, 600);
/// Which part of the answers is long.
const LONG: f64 = 0.1;

pub(super) fn arrivals(rate: f64, all: Duration, seed: u64) -> Vec<Arrival> {
    let mut random = Random::new(seed);
    let mut arrivals = Vec::new();
    let mut at = random.gap(rate);
    while at < all.as_secs_f64() {
        let question = random.between(QUESTION.0, QUESTION.1);
        let range = if random.part() < LONG { LONG_ANSWER } else { ANSWER };
        let answer = random.between(range.0, range.1);
        let asked = text(&mut random, question);
        arrivals.push(Arrival {
            at: Duration::from_secs_f64(at),
            session: format!("single-{}", arrivals.len()),
            body: body(&[("user", &asked)], answer),
            prompt: question,
            answer,
        });
        at += random.gap(rate);
    }
    arrivals
}
