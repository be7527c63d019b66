//! Counts allocations: following a stream costs none for each event.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use bytes::Bytes;
use vllm_gateway_wire::{
    peek::Peek,
    sse::{Hide, Kind, StreamPlan, StreamReader, UsageKind},
    unary::BodyReader,
};

thread_local! {
    // Each test counts its own thread, so that tests may run side by side.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed to the system's allocator as it came; counting touches no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

const EVENTS: usize = 10_000;

/// Events with running usage, made beforehand.
fn chunks(choices: usize) -> Vec<Bytes> {
    let event = |count: usize| {
        Bytes::from(format!(
            "data: {{\"id\":\"chatcmpl-98e20b924bcf87f7\",\"object\":\"chat.completion.chunk\",\"created\":1795409858,\"model\":\"Qwen3-32B\",\"choices\":[{{\"index\":{},\"delta\":{{\"content\":\" word\"}},\"logprobs\":null,\"finish_reason\":null,\"token_ids\":null}}],\"usage\":{{\"prompt_tokens\":17,\"total_tokens\":{},\"completion_tokens\":{count},\"completion_tokens_details\":null}}}}\n\n",
            count % choices,
            count + 17,
        ))
    };
    (0..EVENTS).map(event).collect()
}

fn warm(plan: StreamPlan, chunks: &[Bytes]) -> StreamReader {
    let mut reader = StreamReader::new(plan);
    chunks[..10].iter().for_each(|chunk| drop(reader.push(chunk)));
    reader
}

#[test]
fn following_a_stream_with_nothing_hidden_allocates_nothing() {
    let chunks = chunks(1);
    let mut reader = StreamReader::new(StreamPlan::watch(Kind::OpenAi));
    reader.push(&chunks[0]);
    let count = allocations(|| chunks.iter().for_each(|chunk| drop(reader.push(chunk))));
    assert_eq!(count, 0, "{EVENTS} chunks");
    assert_eq!(reader.usage().1, UsageKind::Running);
}

#[test]
fn asking_for_the_running_usage_with_every_chunk_allocates_nothing() {
    for (choices, prompt) in [(1, 17), (4, 17)] {
        let chunks = chunks(choices);
        let n = u32::try_from(choices).unwrap();
        let mut reader =
            StreamReader::new(StreamPlan { several: choices > 1, n, ..StreamPlan::watch(Kind::OpenAi) });
        chunks[..10].iter().for_each(|chunk| drop(reader.push(chunk)));
        let mut told = None;
        let count = allocations(|| {
            for chunk in &chunks {
                reader.push(chunk);
                told = reader.running_usage().0;
            }
        });
        assert_eq!(count, 0, "{EVENTS} chunks");
        let (usage, told) = (reader.usage().0.unwrap(), told.unwrap());
        assert_eq!((told.prompt, told.completion, told.total), (usage.prompt, usage.completion, usage.total));
        assert_eq!(told.prompt, Some(prompt));
    }
}

#[test]
fn hiding_allocates_next_to_nothing_where_the_chunks_are_written_as_they_come() {
    for (hide, several) in [(Hide::All, false), (Hide::Running, false), (Hide::All, true)] {
        let chunks = chunks(if several { 4 } else { 1 });
        let mut reader = warm(StreamPlan { hide, several, ..StreamPlan::watch(Kind::OpenAi) }, &chunks);
        let count = allocations(|| chunks.iter().for_each(|chunk| drop(reader.push(chunk))));
        assert!(count <= 4, "{hide:?}: {count} allocations for {EVENTS} events");
    }
}

#[test]
fn hiding_allocates_seldom_where_the_last_chunk_is_still_being_written() {
    let chunks = chunks(1);
    let mut reader = warm(StreamPlan { hide: Hide::All, ..StreamPlan::watch(Kind::OpenAi) }, &chunks);
    let mut written = Bytes::new();
    let count = allocations(|| chunks.iter().for_each(|chunk| written = reader.push(chunk)));
    // A buffer holds several events, and one write can keep one buffer.
    assert!(count <= EVENTS as u64 / 2, "{count} allocations for {EVENTS} events");
    assert!(!written.is_empty());
}

#[test]
fn events_that_come_in_two_pieces_cost_nothing_either() {
    let chunks = chunks(1);
    let halves: Vec<_> = chunks.iter().flat_map(|chunk| [chunk.slice(..99), chunk.slice(99..)]).collect();
    for hide in [Hide::Nothing, Hide::All] {
        let mut reader = warm(StreamPlan { hide, ..StreamPlan::watch(Kind::OpenAi) }, &halves);
        let count = allocations(|| halves.iter().for_each(|half| drop(reader.push(half))));
        assert!(count <= 4, "{hide:?}: {count} allocations for {EVENTS} events");
    }
}

#[test]
fn a_request_and_an_answer_cost_a_few_allocations_however_large() {
    let text = "x\\n ".repeat(500_000);
    let body = format!("{{\"model\":\"m\",\"messages\":[{{\"content\":\"{text}\"}}],\"stream\":true}}");
    let mut peeked = None;
    let count = allocations(|| {
        let mut peek = Peek::new();
        body.as_bytes().chunks(16_384).for_each(|segment| peek.feed(segment).unwrap());
        peeked = Some(peek.finish().unwrap());
    });
    assert!(count <= 6, "{count} allocations for a request");
    assert_eq!(peeked.unwrap().model_name(), Some("m"));

    let answer = format!("{{\"text\":\"{text}\",\"usage\":{{\"prompt_tokens\":1}}}}");
    let mut reader = BodyReader::new();
    let count = allocations(|| answer.as_bytes().chunks(16_384).for_each(|chunk| reader.push(chunk)));
    assert!(count <= 4, "{count} allocations for an answer");
    assert!(reader.usage().is_some());
}
