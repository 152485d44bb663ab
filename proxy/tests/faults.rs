//! Which test makes which fault: of the origin, of the process and its machine, of Redis and of the line to it.
//! Tables for people, which are held to what there is: a test that is renamed or gone is missed here.

#[path = "support/named.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test uses its part of it")]
mod named;

/// A fault, and the tests that make it: each by its file and its name.
type Row = (&'static str, &'static [(&'static str, &'static str)]);

const ORIGIN: &[Row] = &[
    (
        "not there",
        &[
            ("pass_through/errors.rs", "an_origin_that_is_not_there"),
            ("cache_story/stale.rs", "stale_if_error_stands_in_for_an_origin_that_is_gone"),
        ],
    ),
    (
        "takes a request, and never answers",
        &[
            ("pass_through/errors.rs", "an_origin_that_does_not_answer"),
            ("collapse.rs", "an_origin_that_hangs_is_waited_for_once_by_all"),
        ],
    ),
    (
        "answers a byte at a time",
        &[
            ("collapse.rs", "a_body_that_takes_too_long_is_not_waited_for"),
            ("upstream.rs", "a_body_that_moves_is_not_cut_however_long_it_takes"),
            ("pass_through/timeouts.rs", "an_answer_that_stops"),
        ],
    ),
    (
        "cuts its answer",
        &[
            ("cache_story/bodies.rs", "what_was_cut_is_never_stored_and_looks_so"),
            ("cache_story/bodies.rs", "a_cut_is_seen_by_all_who_wait"),
        ],
    ),
    (
        "closes or resets connections that are kept",
        &[
            ("upstream.rs", "a_get_that_met_a_closing_connection_goes_out_once_more"),
            ("upstream.rs", "what_may_have_an_effect_is_sent_once"),
            ("process_faults/load.rs", "an_origin_that_closes_its_connections_costs_no_request"),
        ],
    ),
    (
        "fails while it is asked whether something still holds",
        &[
            ("cache_story/stale.rs", "stale_if_error_stands_in_for_errors_within_its_window"),
            ("cache_story/stale.rs", "an_outage_of_a_minute_goes_unseen"),
        ],
    ),
    (
        "clients leave, all or some, or stop reading",
        &[
            ("cache_story/bodies.rs", "the_clients_leaving_does_not_end_a_fill"),
            ("collapse.rs", "half_of_them_leave_and_the_others_are_answered"),
            ("collapse.rs", "a_fetch_that_nobody_waits_for_is_given_up"),
            ("collapse.rs", "a_stalled_reader_holds_nobody_back"),
        ],
    ),
    (
        "clients send or take a body in crumbs",
        &[
            ("pass_through/timeouts.rs", "a_request_body_that_comes_in_crumbs"),
            ("pass_through/timeouts.rs", "a_client_that_takes_its_answer_in_crumbs"),
        ],
    ),
    (
        "its name leads elsewhere, or nowhere",
        &[("upstream.rs", "when_the_origin_moves_its_old_connections_are_not_used_again")],
    ),
];

const PROCESS: &[Row] = &[
    (
        "killed within fills",
        &[
            ("process_faults/kill.rs", "killed_in_the_midst_of_fills_it_leaves_nothing_incomplete"),
            ("one_fetch.rs", "a_holder_that_is_killed_is_replaced"),
        ],
    ),
    (
        "ended under load",
        &[
            ("process_faults/load.rs", "ended_under_load_it_fails_no_request"),
            ("third_party/drain.rs", "a_running_request_is_finished_and_no_new_one_taken"),
        ],
    ),
    (
        "ended twice, or with no end in sight",
        &[
            ("third_party/drain.rs", "a_second_signal_ends_it_at_once"),
            ("third_party/drain.rs", "the_grace_has_an_end"),
        ],
    ),
    ("started again", &[("process_faults/kill.rs", "after_a_restart_the_first_answer_is_a_hit")]),
    (
        "its file is edited under load",
        &[
            ("live_reload.rs", "edits_one_upon_the_other_lose_no_request"),
            ("process_faults/load.rs", "reloads_leave_no_descriptor_behind"),
        ],
    ),
    ("its file is edited badly", &[("live_reload.rs", "bad_edits_change_nothing_and_are_explained")]),
    (
        "a rule changes what is stored already",
        &[
            ("cache_story/rules.rs", "an_edited_ttl_acts_on_what_is_stored"),
            ("cache_story/rules.rs", "a_rule_that_stores_otherwise_is_a_miss"),
        ],
    ),
    (
        "a flood of keys, or of variants",
        &[
            ("hot_set.rs", "what_is_hot_stays_through_a_flood_of_what_is_asked_for_once"),
            ("hot_set.rs", "what_is_hot_stays_through_a_flood_of_variants"),
        ],
    ),
    (
        "has few descriptors, or none left",
        &[
            ("places.rs", "with_few_files_fewer_connections_are_held_and_all_are_served"),
            ("places.rs", "without_a_descriptor_a_connection_waits_and_the_processor_rests"),
        ],
    ),
    (
        "others take its core",
        &[("process_faults/starved.rs", "on_a_core_that_is_taken_it_still_answers_probes")],
    ),
    (
        "clocks that differ, or are set",
        &[
            ("clocks.rs", "sidecars_whose_clocks_differ_agree_on_how_old_something_is"),
            ("clocks.rs", "a_clock_that_is_set_stops_nothing_and_nothing_is_served_beyond_its_time"),
        ],
    ),
    ("nobody takes its log", &[("process_faults/starved.rs", "a_log_that_nobody_reads_holds_nobody_up")]),
    ("a defect", &[("threats/panics.rs", "a_panic_ends_its_own_connection_alone")]),
];

const REDIS: &[Row] = &[
    (
        "its name is unknown",
        &[("process_faults/starved.rs", "a_redis_whose_name_is_unknown_costs_the_cache_and_no_request")],
    ),
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
            ("one_fetch.rs", "nobody_waits_for_what_a_nearly_full_redis_would_not_take"),
            ("one_fetch.rs", "section_4_3_3_what_is_superseded_goes_from_a_redis_that_is_full"),
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
            ("one_fetch/handover.rs", "where_its_client_leaves_one_of_those_who_wait_takes_over"),
            (
                "one_fetch/handover.rs",
                "beside_one_that_hangs_another_one_fetches_but_not_beside_one_that_goes_on",
            ),
            ("one_fetch/handover.rs", "what_takes_long_is_stored_though_another_one_has_begun_beside_it"),
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
    for (fault, tests) in [ORIGIN, PROCESS, REDIS].concat() {
        assert!(!tests.is_empty(), "{fault}");
        for (file, name) in tests {
            let place = file.trim_end_matches(".rs");
            assert!(named::exists(place, name), "{fault}: {file} has no test {name}");
        }
    }
}
