//! What is written is read back, and bytes that were never written do no harm.

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{
    codec::{self, Mark},
    layout::Span,
    run::Written,
};

fn any_text() -> impl Strategy<Value = String> {
    "\\PC{0,120}"
}

prop_compose! {
    fn any_record()(
        id in any::<u128>(),
        seconds in -1_000_000_000_i64..100_000_000_000,
        nanoseconds in 0..1_000_000_000_i32,
        texts in vec(any_text(), 5),
        options in vec(option::of(any_text()), 8),
        counts in vec(option::of(any::<u64>()), 6),
        (status, attempts, stream) in any::<(u16, u32, bool)>(),
        (duration_ms, request_bytes, response_bytes) in any::<(u64, u64, u64)>(),
        (outcome, source) in (0..8_usize, 0..4_usize),
    ) -> Record {
        let [request_id, method, path, client_ip, _] = texts.try_into().unwrap();
        let [org_name, pipeline, model, upstream, upstream_model, user_agent, endpoint, error_code] =
            options.try_into().unwrap();
        let [prompt_tokens, completion_tokens, total_tokens, cached_tokens, reasoning_tokens, ttft_ms] =
            counts.try_into().unwrap();
        Record {
            id: Uuid::from_u128(id),
            time: Timestamp::new(seconds, if seconds < 0 { 0 } else { nanoseconds }).unwrap(),
            request_id, method, path, client_ip,
            org_name, pipeline, model, upstream, upstream_model, user_agent, endpoint, error_code,
            prompt_tokens, completion_tokens, total_tokens, cached_tokens, reasoning_tokens, ttft_ms,
            status, attempts, stream, duration_ms, request_bytes, response_bytes,
            outcome: Outcome::ALL[outcome],
            token_source: TokenSource::ALL[source],
            ..record(id)
        }
    }
}

fn written(record: &Record, mark: Mark) -> Written {
    Written::new(&record.view(), mark)
}

proptest! {
    #[test]
    fn every_record_is_read_back_as_it_was(record in any_record(), closed: bool, moved: bool) {
        let mark = Mark { closed, moved };
        let Written { head, tail } = written(&record, mark);
        prop_assert_eq!(codec::read(&head, &tail), Some((record.borrowed(), mark)));
    }

    #[test]
    fn every_record_goes_through_the_journal_as_it_was(record in any_record()) {
        let disk = MemoryDisk::new();
        let journal = ready(&disk);
        let place = begin(&journal, &record);
        // Where its end is longer than there is room for, texts are cut: another test's matter.
        let tail = written(&record, Mark { closed: true, moved: false }).tail;
        prop_assume!(tail.len() <= place.span().tail_room());
        journal.close(place, &record.progress());
        prop_assert_eq!(found(&disk), (vec![record], 0));
    }

    #[test]
    fn bytes_that_are_no_record_are_none(head in vec(any::<u8>(), 0..600), tail in vec(any::<u8>(), 0..300)) {
        codec::read(&head, &tail);
    }

    #[test]
    fn a_record_that_is_cut_anywhere_is_none_or_whole(record in any_record(), cut in any::<prop::sample::Index>()) {
        let Written { head, tail } = written(&record, Mark::default());
        prop_assert_eq!(codec::read(&head[..cut.index(head.len())], &tail), None);
        prop_assert_eq!(codec::read(&head, &tail[..cut.index(tail.len())]), None);
    }
}

#[test]
fn where_there_is_no_room_the_texts_are_cut_and_the_counts_are_not() {
    let long = Record { path: "/".repeat(3_000), ..long(1) };
    let short = Written::short(&long.view(), Mark::default());
    assert_eq!(short.span(), Some(Span::SMALLEST));
    let (read, _) = codec::read(&short.head, &short.tail).unwrap();
    assert_eq!((read.id, read.prompt_tokens, read.completion_tokens), (long.id, Some(7), Some(40)));
    assert_eq!((read.app_id, read.request_id), (long.app_id.as_deref(), &*long.request_id));
    assert!(long.org_name.unwrap().starts_with(read.org_name.unwrap()));
}

#[test]
fn usual_records_take_one_cell_and_the_longest_take_eight() {
    let span = |record: &Record| written(record, Mark::default()).span().map(Span::cells);
    assert_eq!(span(&record(1)), Some(1));
    assert_eq!(span(&long(1)), Some(2));
    let longest = "x".repeat(600);
    let all = Record {
        org_name: Some(longest.clone()),
        path: longest.clone(),
        model: Some(longest.clone()),
        upstream_model: Some(longest.clone()),
        user_agent: Some(longest.clone()),
        endpoint: Some(longest),
        ..record(1)
    };
    assert_eq!(span(&all), Some(8));
}

#[test]
fn cut_every_record_fits_into_one_cell() {
    let endless = || Some("x".repeat(5_000));
    let record = Record {
        request_id: "r".repeat(128),
        app_id: endless(),
        org_name: endless(),
        key_prefix: endless(),
        method: "M".repeat(5_000),
        path: "/".repeat(5_000),
        pipeline: endless(),
        model: endless(),
        upstream: endless(),
        upstream_model: endless(),
        endpoint: endless(),
        error_code: endless(),
        user_agent: endless(),
        client_ip: "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".into(),
        cached_tokens: Some(u64::MAX),
        reasoning_tokens: Some(u64::MAX),
        ..record(1)
    };
    assert_eq!(written(&record, Mark::default()).span(), None);
    let short = Written::short(&record.view(), Mark { closed: true, moved: true });
    assert_eq!(short.span(), Some(Span::SMALLEST));
    let disk = MemoryDisk::new();
    let journal = ready(&disk);
    journal.write(journal.admit().unwrap(), &record.view());
    let (records, damaged) = waiting(&journal);
    assert_eq!((records[0].id, &records[0].client_ip, damaged), (record.id, &record.client_ip, 0));
}

#[test]
fn nothing_of_the_record_before_is_taken_for_one_with_the_same_head() {
    let disk = MemoryDisk::new();
    let journal = ready(&disk);
    let first = Record { completion_tokens: Some(1_000_000), ..record(1) };
    let place = begin(&journal, &first);
    journal.close(place, &first.progress());
    let waiting = journal.sweep(1);
    journal.settle(waiting[0].place);
    // No two records have one head, but one pair of heads in four thousand million has one checksum.
    let second = Record { completion_tokens: Some(3), ..record(1) };
    let place = journal.admit().unwrap();
    assert_eq!(place.bits(), waiting[0].place.bits(), "it is in the same place");
    journal.write(place, &second.view());
    assert_eq!(found(&disk), (vec![second], 0));
}
