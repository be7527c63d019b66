//! Records of one batch, counted by what is known of them: for the hours of usage and for the slots of the log.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use vllm_gateway_record::{Outcome, Record};

use super::records::millis_of;
use super::slots::{SLOT, Span, Term};
use crate::times::MILLIS_PER_HOUR;
use crate::usage::{Counts, Group};

/// Who asked for what, how it ended, and in which slot: a batch has few of these.
#[derive(PartialEq, Eq, Hash)]
struct Kind<'a> {
    slot: i64,
    app_id: Option<&'a str>,
    org_name: Option<&'a str>,
    model: Option<&'a str>,
    outcome: Outcome,
    status: u16,
}

/// What was counted.
#[derive(Default)]
pub(super) struct Tally<'a>(Map<Kind<'a>, (Counts, Span)>);

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// A quick hash. Names that clients choose to collide cost as much as comparing one batch with itself, and no more.
#[derive(Default)]
pub(super) struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.write_u64(u64::from_le_bytes(last));
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        // The upper bits are mixed best, and the map takes the lower ones.
        self.0.rotate_left(26)
    }
}

impl<'a> Tally<'a> {
    /// Counts a record.
    pub(super) fn add(&mut self, record: &Record<&'a str>) {
        let time = millis_of(record);
        let kind = Kind {
            slot: time.div_euclid(SLOT),
            app_id: record.app_id,
            org_name: record.org_name,
            model: record.model,
            outcome: record.outcome,
            status: record.status,
        };
        let (counts, span) = self.0.entry(kind).or_default();
        counts.add(Counts::of(record));
        span.add(Span { first: time, last: time, records: 1 });
    }

    /// What was used, by the hour.
    pub(super) fn usage(&self) -> impl IntoIterator<Item = ((i64, Group<&'a str>), Counts)> + use<'a> {
        const { assert!(MILLIS_PER_HOUR % SLOT == 0, "a slot lies in one hour") };
        let mut hours: Map<_, Counts> = Map::default();
        for (kind, (counts, _)) in &self.0 {
            let hour = kind.slot.div_euclid(MILLIS_PER_HOUR / SLOT);
            let group = Group { app_id: kind.app_id, org_name: kind.org_name, model: kind.model };
            hours.entry((hour, group)).or_default().add(*counts);
        }
        hours
    }

    /// How many there are of each term, by the slot.
    pub(super) fn slots(&self) -> impl IntoIterator<Item = ((Term<'a>, i64), Span)> + use<'a> {
        let mut slots: Map<_, Span> = Map::default();
        for (kind, (_, span)) in &self.0 {
            for term in Term::all_of(kind.app_id, kind.model, kind.outcome, kind.status) {
                slots.entry((term, kind.slot)).or_default().add(*span);
            }
        }
        slots
    }
}
