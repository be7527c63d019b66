//! Requests that begin alike: few system prompts, of which some are asked for far more often than others.

use std::time::Duration;

use super::{Arrival, body, words::text};
use crate::random::{Random, Zipf};

/// System prompts that are in use: apps of an organisation, say.
const PROMPTS: usize = 128;
/// Words of a system prompt: instructions, tools and examples, 4,000 to 12,000 characters.
const PROMPT: (usize, usize) = (1_000, 3_000);
const QUESTION: (usize, usize) = (20, 80);
/// What somebody says in a conversation, with what they paste.
const REMARK: (usize, usize) = (50, 450);
const ANSWER: (usize, usize) = (16, 48);
/// Which part of the requests belongs to conversations.
const CONVERSING: f64 = 0.4;
const TURNS: (usize, usize) = (3, 8);
/// Between two turns of a conversation, in seconds: reading takes that long at least, and thinking longer on average.
const READING: f64 = 2.0;
const THINKING: f64 = 3.0;

pub(super) fn arrivals(rate: f64, all: Duration, seed: u64) -> Vec<Arrival> {
    // The same in every round: which of them are long and asked for often would matter more than all else.
    let mut random = Random::new(0);
    let prompts: Vec<(String, usize)> = (0..PROMPTS)
        .map(|_| {
            let words = random.between(PROMPT.0, PROMPT.1);
            (text(&mut random, words), words)
        })
        .collect();
    let mut random = Random::new(seed);
    let (zipf, end) = (Zipf::new(PROMPTS), all.as_secs_f64());
    let mut arrivals = Vec::new();

    let single = rate * (1.0 - CONVERSING);
    let mut at = random.gap(single);
    while at < end {
        let (system, words) = &prompts[zipf.draw(&mut random)];
        let (question, answer) = (random.between(QUESTION.0, QUESTION.1), random.between(ANSWER.0, ANSWER.1));
        let asked = text(&mut random, question);
        arrivals.push(Arrival {
            at: Duration::from_secs_f64(at),
            session: format!("single-{}", arrivals.len()),
            body: body(&[("system", system), ("user", &asked)], answer),
            prompt: words + question,
            answer,
        });
        at += random.gap(single);
    }

    // Some have begun before, so that at the start there are as many under way as later.
    let begun = rate * CONVERSING / f64::midpoint(TURNS.0 as f64, TURNS.1 as f64);
    let mut start = random.gap(begun) - (READING + THINKING) * TURNS.1 as f64 * 1.5;
    let mut number = 0;
    while start < end {
        let (system, words) = &prompts[zipf.draw(&mut random)];
        number += 1;
        converse(&mut arrivals, &mut random, (system, *words), start, end, number);
        start += random.gap(begun);
    }
    arrivals
}

/// One conversation: each turn sends all that was said before.
fn converse(
    arrivals: &mut Vec<Arrival>,
    random: &mut Random,
    (system, system_words): (&str, usize),
    start: f64,
    end: f64,
    number: usize,
) {
    let (mut at, mut tokens) = (start, system_words);
    let mut said: Vec<(&str, String)> = vec![("system", system.to_owned())];
    for _ in 0..random.between(TURNS.0, TURNS.1) {
        let (remark, answer) = (random.between(REMARK.0, REMARK.1), random.between(ANSWER.0, ANSWER.1));
        said.push(("user", text(random, remark)));
        tokens += remark;
        if (0.0..end).contains(&at) {
            let messages: Vec<(&str, &str)> =
                said.iter().map(|(role, text)| (*role, text.as_str())).collect();
            arrivals.push(Arrival {
                at: Duration::from_secs_f64(at),
                session: format!("conversation-{number}"),
                body: body(&messages, answer),
                prompt: tokens,
                answer,
            });
        }
        // What the server says is known only later, and would differ between runs: its length is what counts here.
        said.push(("assistant", text(random, answer)));
        tokens += answer;
        at += READING + random.gap(1.0 / THINKING);
    }
}
