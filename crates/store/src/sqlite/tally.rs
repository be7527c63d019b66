//! Records of one batch, counted by what is known of them: for the hours of usage and for the slots of the log.

use std::collections::HashMap;

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
pub(super) struct Tally<'a>(HashMap<Kind<'a>, (Counts, Span)>);

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
    pub(super) fn usage(&self) -> HashMap<(i64, Group<&'a str>), Counts> {
        const { assert!(MILLIS_PER_HOUR % SLOT == 0, "a slot lies in one hour") };
        let mut hours: HashMap<_, Counts> = HashMap::new();
        for (kind, (counts, _)) in &self.0 {
            let hour = kind.slot.div_euclid(MILLIS_PER_HOUR / SLOT);
            let group = Group { app_id: kind.app_id, org_name: kind.org_name, model: kind.model };
            hours.entry((hour, group)).or_default().add(*counts);
        }
        hours
    }

    /// How many there are of each term, by the slot.
    pub(super) fn slots(&self) -> HashMap<(Term<'a>, i64), Span> {
        let mut slots: HashMap<_, Span> = HashMap::new();
        for (kind, (_, span)) in &self.0 {
            for term in Term::all_of(kind.app_id, kind.model, kind.outcome, kind.status) {
                slots.entry((term, kind.slot)).or_default().add(*span);
            }
        }
        slots
    }
}
