//! What every store promises. One list of tests, run against each store by `store_suite!`.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

pub mod apps;
pub mod changes;
pub mod fixture;
pub mod logs;
pub mod purging;
pub mod questions;
pub mod racing;
pub mod rotation;
pub mod usage;

/// Makes a `#[tokio::test]` of each test of the suite; `$open` is an async function that gives a new
/// `Fixture`.
#[macro_export]
macro_rules! store_suite {
    ($open:path) => {
        $crate::store_suite!(@ $open;
            apps: an_app_comes_back_as_it_was_stored,
                an_id_or_a_key_that_is_taken_is_a_conflict_and_changes_nothing,
                an_app_that_breaks_a_limit_is_refused,
                apps_are_listed_newest_first_page_by_page,
                a_part_of_a_name_is_found_literally_and_in_either_case,
                pages_that_cannot_be_are_refused,
                new_details_replace_the_old_ones_and_keep_the_key,
                a_status_is_changed_and_found,
                what_is_not_there_cannot_be_changed_or_deleted,
                a_deleted_app_frees_its_id_and_its_keys,
                uses_are_noted_and_never_go_back;
            rotation: the_old_key_works_for_its_grace_time,
                without_a_grace_time_only_the_new_key_is_left,
                a_rotation_never_lengthens_the_life_of_a_key,
                a_key_that_is_taken_cannot_become_the_new_one,
                one_rotation_too_many_is_refused,
                rotations_at_the_same_time_all_happen;
            changes: the_start_mark_gives_everything_once,
                each_change_is_told_and_a_use_is_not,
                each_change_has_a_higher_version,
                a_mark_of_another_store_gives_everything,
                a_store_has_a_name_of_its_own_that_every_gateway_reads,
                one_store_sees_what_another_one_changed_within_two_seconds,
                four_writers_hide_nothing_from_a_poller,
                a_change_whose_caller_left_is_told_if_it_happened;
            logs: a_record_comes_back_as_it_was_stored,
                a_record_appended_again_is_stored_once,
                a_poison_record_is_named_and_stops_no_other,
                more_records_than_a_batch_holds_are_all_stored,
                records_that_go_behind_all_else_are_all_stored_and_hold_no_app_up,
                every_filter_finds_its_records_and_no_others,
                records_of_one_time_are_in_the_order_of_their_ids,
                a_range_of_time_is_exact_to_the_millisecond,
                an_export_gives_every_record_once_whatever_happens_meanwhile,
                a_bad_cursor_or_limit_is_refused,
                a_closed_store_says_so;
            questions: every_question_is_answered_as_by_looking_at_every_record,
                a_record_is_known_by_its_id_under_whatever_time_it_comes_again;
            usage: usage_is_what_the_records_say_however_it_is_grouped,
                duplicates_do_not_count,
                late_records_count,
                a_renamed_app_has_its_newest_name,
                a_span_that_cannot_be_is_refused,
                usage_outlives_records_and_apps;
            purging: the_oldest_records_go_and_no_more_than_allowed,
                a_purged_record_that_is_shipped_again_is_not_counted_again,
                records_that_come_after_their_hour_was_purged_count;
            racing: usage_is_exact_while_everything_happens_at_once,
                appends_that_were_dropped_can_be_repeated
        );
    };
    (@ $open:path; $($file:ident: $($test:ident),+);+ $(,)?) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let fixture = $open(stringify!($test)).await;
                suite::$file::$test(&fixture).await;
                fixture.close().await;
            }
        )+)+
    };
}
