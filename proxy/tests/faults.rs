//! Which test makes which fault of Redis or of the line to it. A table for people, which is held to what there
//! is: a test that is renamed or gone is missed here.

#[path = "support/named.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test uses its part of it")]
mod named;

/// A fault, and the tests that make it: each by its file and its name.
type Row = (&'static str, &'static [(&'static str, &'static str)]);

const FAULTS: &[Row] = &[
    (
        "frozen",
        &[
            ("redis_faults.rs", "frozen_costs_three_budgets_then_nothing"),
            ("redis_faults.rs", "frozen_under_a_crowd_leaves_no_queue"),
            ("redis_story.rs", "frozen_and_thawed"),
            ("one_fetch.rs", "a_frozen_redis_keeps_nobody_waiting_for_another"),
            ("one_purge.rs", "a_frozen_redis_is_told_later"),
        ],
    ),
    ("slow", &[("redis_story/refusals.rs", "while_all_clients_are_paused_it_is_missed")]),
    ("takes no writes for a while", &[("redis_faults.rs", "held_back_writes_are_dropped_and_hits_go_on")]),
    ("not there at the start", &[("redis_story.rs", "absent_at_the_start")]),
    (
        "killed, and back empty",
        &[
            ("redis_story.rs", "killed_and_restarted_empty"),
            ("one_purge.rs", "a_redis_that_comes_back_empty_has_nothing_of_before"),
        ],
    ),
    (
        "back as it was, after a while of loading",
        &[
            ("redis_story/refusals.rs", "while_it_loads_what_it_has_it_is_missed"),
            ("one_purge.rs", "a_redis_that_was_killed_is_told_when_it_is_back_as_it_was"),
        ],
    ),
    (
        "full, and evicts nothing",
        &[
            ("redis_faults.rs", "full_means_hits_and_no_commits"),
            ("redis_faults.rs", "a_full_redis_takes_removals"),
            ("redis_faults.rs", "a_redis_that_evicts_nothing_is_not_filled_to_the_brim"),
        ],
    ),
    (
        "evicts",
        &[
            ("redis_story/refusals.rs", "what_it_evicts_at_random_is_never_mixed_up"),
            ("memory_tier/coherence.rs", "what_redis_evicts_goes_from_memory"),
        ],
    ),
    (
        "no master any more (READONLY, MASTERDOWN)",
        &[
            ("redis_faults.rs", "a_demoted_master_serves_hits_or_says_why_not"),
            ("sentinel.rs", "another_master_takes_over_under_load"),
        ],
    ),
    (
        "lets nobody in, or not to all (NOAUTH, WRONGPASS, NOPERM)",
        &[
            ("redis_faults.rs", "a_password_set_while_it_runs"),
            ("redis_faults.rs", "a_user_who_may_only_read_gets_hits"),
            ("redis_access.rs", "a_password_is_replaced_while_we_run"),
        ],
    ),
    ("maxclients", &[("redis_story/refusals.rs", "with_no_room_for_another_client_it_is_missed")]),
    ("BUSY with a script", &[("redis_faults.rs", "a_busy_script_is_a_miss")]),
    ("MISCONF: it cannot save", &[("redis_story/refusals.rs", "when_it_cannot_save_hits_go_on")]),
    ("CLUSTERDOWN", &[("redis_story/refusals.rs", "in_a_cluster_that_is_down_it_is_missed")]),
    (
        "values of another type, damaged, cut, or another's",
        &[
            ("redis_faults.rs", "a_value_of_another_type_is_a_miss_and_goes"),
            ("redis_faults.rs", "no_damaged_entry_is_served"),
            ("redis_story.rs", "lied_to"),
            ("store_contract.rs", "an_entry_under_another_key_is_a_miss"),
        ],
    ),
    (
        "FLUSHALL under load",
        &[
            ("redis_story.rs", "emptied_under_load_each_is_fetched_once"),
            ("one_purge.rs", "after_a_flush_there_are_hits_again_and_purges_are_obeyed"),
        ],
    ),
    (
        "a partition: no packet passes, no connection can be made",
        &[
            ("redis_story/line.rs", "behind_a_partition_it_is_missed"),
            ("redis_story/line.rs", "behind_a_partition_from_the_start_too"),
        ],
    ),
    (
        "connections that are half open",
        &[
            ("redis_story/line.rs", "connections_that_are_dead_are_noticed_under_load"),
            ("redis_story/line.rs", "connections_that_are_dead_are_noticed_while_nobody_asks"),
        ],
    ),
    ("delay and jitter", &[("redis_story/line.rs", "what_delay_costs_is_bounded")]),
    (
        "the tracking connection alone is cut, or silent",
        &[
            ("memory_tier/coherence.rs", "without_hearing_memory_is_not_believed_and_then_emptied"),
            ("fleet/troubles.rs", "a_member_that_is_cut_off_serves_nothing_from_memory"),
            ("fleet/troubles.rs", "a_member_that_hears_nothing_is_waited_for"),
        ],
    ),
    (
        "an answer that is older than the news of a change",
        &[("memory_tier/coherence.rs", "what_changed_on_its_way_is_not_inserted")],
    ),
    (
        "a herd after an expiry",
        &[
            ("fleet/single_fetch.rs", "for_an_expiry_with_a_fast_origin"),
            ("fleet/single_fetch.rs", "for_an_expiry_with_a_slow_origin"),
            ("one_fetch.rs", "one_of_them_fetches_and_the_others_have_it"),
        ],
    ),
    (
        "the holder of a lease dies, or hangs",
        &[
            ("fleet/single_fetch.rs", "a_holder_that_dies_is_replaced_by_one_other"),
            ("one_fetch.rs", "what_a_frozen_holder_brings_late_is_not_stored"),
        ],
    ),
    (
        "any of them while it is purged",
        &[("fleet/consistency.rs", "a_promised_purge_is_obeyed_whatever_happens")],
    ),
    ("again and again", &[("soak/main.rs", "nothing_fails_grows_or_stays")]),
];

#[test]
fn each_fault_has_the_tests_that_are_named() {
    for (fault, tests) in FAULTS {
        assert!(!tests.is_empty(), "{fault}");
        for (file, name) in *tests {
            let place = file.trim_end_matches(".rs");
            assert!(named::exists(place, name), "{fault}: {file} has no test {name}");
        }
    }
}
