//! Sentences of the documentation that promise something, each with a test that tries to make it false.
//!
//! A sentence that is reworded has to be changed here too, and a promise that is new gets a row.

use std::fs;
use std::path::Path;

/// A sentence, or the part of one that promises, and its test.
struct Promise {
    page: &'static str,
    says: &'static str,
    file: &'static str,
    test: &'static str,
}

const fn promise(
    page: &'static str,
    says: &'static str,
    file: &'static str,
    test: &'static str,
) -> Promise {
    Promise {
        page,
        says,
        file,
        test,
    }
}

const PROMISES: &[Promise] = &[
    promise(
        "docs/security.md",
        "an address that other machines can reach needs a password or users",
        "tests/all/connections.rs",
        "an_address_that_others_reach_needs_authentication",
    ),
    promise(
        "docs/security.md",
        "A request is a flat array of bulk strings, or an inline command, with bounds on every size. Anything else is refused.",
        "tests/all/bad_frames.rs",
        "each_bad_frame_gets_its_error_and_the_end",
    ),
    promise(
        "docs/security.md",
        "Every access to data is checked against the function's permissions in one place",
        "runtime/tests/all/permissions.rs",
        "commands_pass_the_same_door",
    ),
    promise(
        "docs/security.md",
        "every write of a function that may only read is refused",
        "runtime/tests/all/permissions.rs",
        "a_function_that_may_only_read_cannot_write",
    ),
    promise(
        "docs/security.md",
        "A function whose keys are restricted learns neither how many other keys there are nor what another database holds",
        "tests/all/walls/restricted.rs",
        "commands_on_all_keys_tell_nothing_of_those_that_it_may_not_access",
    ),
    promise(
        "docs/security.md",
        "each operation is also checked against the rights of the user who calls, and is what its command would be for that user",
        "tests/all/walls/access_control.rs",
        "each_typed_operation_is_what_its_command_would_be",
    ),
    promise(
        "docs/security.md",
        "Guests have no sockets",
        "runtime/tests/all/wasi.rs",
        "files_and_sockets_are_not_there",
    ),
    promise(
        "docs/security.md",
        "scratch directories](files.md#scratch-directories) in memory, which go with their call",
        "runtime/tests/all/scratch.rs",
        "a_file_is_written_moved_and_gone_with_its_call",
    ),
    promise(
        "docs/security.md",
        "the kernel keeps every path beneath its directory",
        "runtime/tests/all/files.rs",
        "a_rename_meanwhile_leads_nowhere_else",
    ),
    promise(
        "docs/security.md",
        "it has its own memory with guard pages",
        "runtime/tests/all/bounds.rs",
        "a_pointer_outside_memory_traps_and_says_where",
    ),
    promise(
        "docs/security.md",
        "a call ends with an error when its limit of time or fuel is reached",
        "runtime/tests/all/limits.rs",
        "an_endless_loop_ends_with_its_time",
    ),
    promise(
        "docs/security.md",
        "when it is killed, and when its client goes away",
        "tests/all/server_commands.rs",
        "a_client_that_goes_away_ends_its_call",
    ),
    promise(
        "docs/security.md",
        "which every loop and every recursion pays",
        "compiler/tests/all/meter.rs",
        "random_modules_do_what_they_did_and_never_more_than_they_paid_for",
    ),
    promise(
        "docs/security.md",
        "a call that traps, is stopped or cannot commit changes no data",
        "runtime/tests/all/transactions.rs",
        "a_killed_or_late_call_leaves_no_trace",
    ),
    promise(
        "docs/security.md",
        "a call that traps, is stopped or cannot commit changes no data",
        "tests/all/walls/rollback.rs",
        "a_trap_after_any_command_leaves_everything_as_it_was",
    ),
    promise(
        "docs/security.md",
        "it sees no memory that an earlier call wrote",
        "runtime/tests/all/isolation.rs",
        "no_byte_of_memory_survives",
    ),
    promise(
        "docs/security.md",
        "which enters its sandbox before it reads the first byte",
        "compiler/tests/all/sandbox.rs",
        "nothing_but_memory_threads_and_pipes_is_left",
    ),
    promise(
        "docs/security.md",
        "at most 4 GiB of address space and two minutes of processor time",
        "compiler/tests/all/bombs.rs",
        "a_bomb_that_wants_more_memory_than_there_is_ends_the_worker_alone",
    ),
    promise(
        "docs/security.md",
        "SIGKILL after `wasm.compile_timeout`",
        "tests/all/bombs.rs",
        "a_bomb_ends_by_the_clock_and_calls_go_on_meanwhile",
    ),
    promise(
        "docs/security.md",
        "the error names the bound",
        "compiler/tests/all/bounds.rs",
        "every_bound_holds_at_its_edge",
    ),
    promise(
        "docs/security.md",
        "Its signature must be by a key in `trusted_keys` that is not in `revoked_keys`, and it must not have expired",
        "tests/all/bundles/refused.rs",
        "each_refusal_says_its_reason",
    ),
    promise(
        "docs/security.md",
        "The sequence number must not be lower than one that was loaded under this name before",
        "tests/all/bundles/released.rs",
        "an_older_release_does_not_come_back",
    ),
    promise(
        "docs/security.md",
        "`LOAD` must not grant more than was signed for",
        "tests/all/bundles/loaded.rs",
        "what_was_signed_for_holds_unless_the_load_asks_for_less",
    ),
    promise(
        "docs/security.md",
        "The content of each is compared with its digest; headers and padding are compared byte by byte",
        "tests/all/bundles/tampered.rs",
        "no_byte_of_a_loaded_bundle_may_differ",
    ),
    promise(
        "docs/security.md",
        "A load by digest looks among the releases of that source for those that were signed for the function's name",
        "tests/all/bundles/stored.rs",
        "a_digest_names_a_release_with_its_name_and_its_grants",
    ),
    promise(
        "docs/security.md",
        "checks all of the first two points again",
        "tests/all/bundles/stored.rs",
        "a_release_by_digest_is_neither_older_nor_expired_nor_of_another_key",
    ),
    promise(
        "docs/security.md",
        "Nothing is believed because it is in the cache.",
        "tests/all/bundles/stored.rs",
        "a_release_that_somebody_changed_in_the_cache_is_refused",
    ),
    promise(
        "docs/security.md",
        "a *digest* in `WASM.LOAD`, `WASM.RELOAD` and `FUNCTION LOAD` names a release",
        "tests/all/engines/bundles.rs",
        "a_digest_names_a_release_in_libraries_too",
    ),
    promise(
        "docs/security.md",
        "No name in a bundle is used as a path.",
        "tests/all/bundles/tampered.rs",
        "members_and_headers_have_one_form",
    ),
    promise(
        "docs/security.md",
        "changes to the file after a check have no effect",
        "tests/all/bundles/tampered.rs",
        "a_file_that_changes_between_check_and_load_gains_nothing",
    ),
    promise(
        "docs/security.md",
        "everything that it says is compared with that",
        "tests/all/engines/bundles.rs",
        "what_arrives_from_another_server_is_checked_against_its_signed_manifest",
    ),
    promise(
        "docs/security.md",
        "with no rights for others; otherwise the cache is refused",
        "cache/tests/all/intruders.rs",
        "a_directory_that_others_may_enter_is_refused_with_the_remedy",
    ),
    promise(
        "docs/security.md",
        "An artifact is hashed and compared with its manifest each time it is loaded",
        "cache/tests/all/damage.rs",
        "every_flipped_bit_of_an_artifact_is_noticed",
    ),
    promise(
        "docs/security.md",
        "writes a file only after the signature and every byte were checked",
        "tests/all/bundles/registry.rs",
        "what_a_registry_says_is_not_believed",
    ),
    promise(
        "docs/security.md",
        "functions that came from one answer `BADSIG`",
        "tests/all/bundles/refused.rs",
        "what_a_revoked_key_signed_stops_at_the_next_start_and_its_code_goes",
    ),
    promise(
        "docs/security.md",
        "Add the new key to `trusted_keys` and sign new releases with it",
        "tests/all/bundles/refused.rs",
        "a_new_key_takes_over_from_an_old_one",
    ),
    promise(
        "docs/security.md",
        "also after the function is unloaded",
        "tests/all/bundles/released.rs",
        "an_older_release_does_not_come_back",
    ),
    promise(
        "docs/valkey.md",
        "A call's writes take effect together, or not at all.",
        "tests/all/engines/data.rs",
        "replicas_hold_the_same_data_whether_calls_succeed_or_fail",
    ),
    promise(
        "docs/valkey.md",
        "they are undone by subtracting the same amount",
        "tests/all/engines/data.rs",
        "what_added_to_a_counter_is_taken_away_when_the_call_fails",
    ),
    promise(
        "docs/valkey.md",
        "its client waits, and the server serves others",
        "tests/all/engines/long_calls.rs",
        "an_endless_call_holds_up_nobody_and_leaves_nothing",
    ),
    promise(
        "docs/valkey.md",
        "if something differs, the call is run again",
        "tests/all/engines/long_calls.rs",
        "no_increment_is_lost_between_long_calls_and_commands",
    ),
    promise(
        "docs/valkey.md",
        "Before a call leaves the main thread, everything is restored.",
        "tests/all/engines/long_calls.rs",
        "a_command_of_a_long_call_is_undone_meanwhile_and_done_at_its_end",
    ),
    promise(
        "docs/valkey.md",
        "The call therefore may take at most `max-time-inside`",
        "tests/all/engines/safety.rs",
        "inside_a_transaction_or_a_script_a_call_is_short_or_ended",
    ),
    promise(
        "docs/valkey.md",
        "Commands that affect more than the keys that they name, because they cannot be undone",
        "tests/all/engines/data.rs",
        "what_cannot_be_undone_is_refused",
    ),
    promise(
        "docs/valkey.md",
        "A write when `maxmemory` is used up",
        "tests/all/engines/data.rs",
        "a_full_server_takes_no_writes_of_functions",
    ),
    promise(
        "docs/valkey.md",
        "is for the calling user what the command would be",
        "tests/all/walls/access_control.rs",
        "each_command_that_a_function_runs_is_what_the_user_sends",
    ),
    promise(
        "docs/valkey.md",
        "users who may only read a key (`%R~`) may use it",
        "tests/all/engines/replicas.rs",
        "who_may_only_read_keys_may_make_calls_that_only_read",
    ),
    promise(
        "docs/valkey.md",
        "The registry (names with digests, permissions and limits) is part of the RDB file",
        "tests/all/engines/persistence.rs",
        "functions_outlive_a_reload_a_restart_and_a_crash",
    ),
    promise(
        "docs/valkey.md",
        "a call answers `NOARTIFACT` with the missing digest",
        "tests/all/engines/persistence.rs",
        "a_function_without_its_code_says_what_is_missing",
    ),
    promise(
        "docs/valkey.md",
        "so that a node that was down or joins later gets everything",
        "tests/all/engines/cluster.rs",
        "functions_reach_nodes_that_were_down_or_join_later",
    ),
    promise(
        "docs/valkey.md",
        "`MOVED`, `ASK` and `CROSSSLOT` come from the engine",
        "tests/all/engines/cluster.rs",
        "calls_are_routed_by_their_keys",
    ),
    promise(
        "docs/valkey.md",
        "the module installs wasmtime's again at once",
        "tests/all/engines/safety.rs",
        "traps_are_errors_whatever_the_engine_does_with_signals",
    ),
    promise(
        "docs/store.md",
        "this gives serializability in the order of time",
        "store/tests/all/serializability.rs",
        "concurrent_histories_have_a_serial_order",
    ),
    promise(
        "docs/store.md",
        "nothing that was acknowledged, if the disk keeps what it synced",
        "store/tests/all/durability.rs",
        "with_always_no_kill_loses_an_acknowledged_commit_or_leaves_half_of_one",
    ),
    promise(
        "docs/store.md",
        "Damaged data is reported and never loaded in part",
        "store/tests/all/durability.rs",
        "damage_is_reported_or_harmless_but_never_believed",
    ),
    promise(
        "docs/store.md",
        "When the disk is full or fails, writes answer `MISCONF",
        "store/tests/all/durability.rs",
        "a_full_disk_refuses_writes_and_serves_reads_until_there_is_room",
    ),
    promise(
        "docs/store.md",
        "in the order in which clients began to wait",
        "store/tests/all/blocking.rs",
        "whoever_waits_longest_is_served_first_and_before_the_next_command",
    ),
    promise(
        "docs/store.md",
        "the writes of a call that fails can be taken back",
        "tests/all/multi.rs",
        "a_call_that_fails_is_taken_back_and_the_others_stand",
    ),
    promise(
        "README.md",
        "a call that was stopped before its end has changed no data",
        "tests/all/bad_functions.rs",
        "what_a_failed_call_wrote_is_nowhere",
    ),
    promise(
        "README.md",
        "Every call starts from the function's first state.",
        "runtime/tests/all/rewound.rs",
        "every_call_of_one_instance_starts_anew",
    ),
    promise(
        "README.md",
        "so other clients are served while it runs",
        "tests/all/bad_functions.rs",
        "an_endless_function_delays_nobody",
    ),
    promise(
        "README.md",
        "looks native code up in a cache by the digest of its source, verifies it, maps it and calls it",
        "tests/all/bundles/tampered.rs",
        "nothing_unsigned_is_ever_mapped_as_code",
    ),
    promise(
        "README.md",
        "replaces a function's code while calls go on",
        "tests/all/functions.rs",
        "a_reload_under_load_fails_no_call",
    ),
    promise(
        "README.md",
        "runs a call, reports its time, fuel and host calls, and rolls it back",
        "tests/all/functions.rs",
        "a_profile_tells_and_takes_back",
    ),
    promise(
        "README.md",
        "ends running calls and discards what they wrote",
        "tests/all/functions.rs",
        "calls_are_killed_by_name",
    ),
    promise(
        "docs/security.md",
        "every request and every redirection is checked against the function's rules before anything is sent",
        "runtime/tests/all/network/calls.rs",
        "what_the_permissions_do_not_name_is_denied_before_anything_is_sent",
    ),
    promise(
        "docs/security.md",
        "refuses the answer if one of its addresses is not of the public internet",
        "runtime/tests/all/network/hostile_names.rs",
        "one_private_address_spoils_an_answer",
    ),
    promise(
        "docs/security.md",
        "resolves the name once",
        "runtime/tests/all/network/hostile_names.rs",
        "an_answer_that_changes_is_checked_each_time_and_never_asked_twice",
    ),
    promise(
        "docs/security.md",
        "Sizes, times, numbers and redirections are bounded",
        "runtime/tests/all/network/hostile_servers.rs",
        "responses_are_bounded_and_must_be_complete",
    ),
    promise(
        "docs/security.md",
        "Where there are several users, a quarter of the running calls of each function is divided equally among them",
        "tests/all/costs/users.rs",
        "one_user_cannot_keep_the_others_waiting",
    ),
    promise(
        "docs/security.md",
        "A reply that is no RESP ends the connection",
        "tests/all/upstream/bad_engines.rs",
        "nonsense_ends_the_connection",
    ),
    promise(
        "docs/security.md",
        "A call reads and writes with the credentials of its client",
        "tests/all/upstream/passed_on.rs",
        "a_call_has_the_rights_of_its_client",
    ),
    promise(
        "docs/security.md",
        "paid by the bytes that the guest names, before they are read",
        "runtime/tests/all/host_costs.rs",
        "every_host_function_is_paid_by_the_bytes_that_a_guest_names",
    ),
    promise(
        "docs/security.md",
        "paid by what they read and write",
        "runtime/tests/all/host_costs.rs",
        "calls_on_open_files_are_paid_by_what_they_read_and_write",
    ),
    promise(
        "docs/security.md",
        "begins only if the time that is left suffices for it",
        "runtime/tests/all/limits.rs",
        "a_commit_that_would_outlast_the_call_does_not_begin",
    ),
    promise(
        "docs/security.md",
        "A command that is not known to touch little counts as one that visits every element of its keys",
        "tests/all/walls/foreseen.rs",
        "a_command_is_taken_for_cheap_only_if_the_server_says_so",
    ),
    promise(
        "docs/security.md",
        "checks that another client is answered meanwhile",
        "tests/all/costs/beside.rs",
        "other_clients_are_served_while_hostile_calls_run",
    ),
    promise(
        "docs/security.md",
        "takes the one with the highest sequence",
        "tests/all/bundles/stored.rs",
        "a_release_by_digest_is_neither_older_nor_expired_nor_of_another_key",
    ),
    promise(
        "docs/security.md",
        "with `require_signed`, more than a bundle was signed for",
        "tests/all/bundles/stored.rs",
        "a_digest_names_a_release_with_its_name_and_its_grants",
    ),
    promise(
        "docs/security.md",
        "matches the names itself in linear time",
        "tests/all/walls/names.rs",
        "a_pattern_takes_time_in_proportion_to_the_names_alone",
    ),
    promise(
        "docs/security.md",
        "pays for each time before",
        "tests/all/walls/names.rs",
        "each_name_is_paid_for_and_told_once",
    ),
    promise(
        "docs/valkey.md",
        "A function that tries to write then gets the status `READ_ONLY`, and nothing is written.",
        "tests/all/engines/replicas.rs",
        "a_replica_answers_calls_that_only_read",
    ),
    promise(
        "docs/valkey.md",
        "The module cannot be unloaded",
        "tests/all/engines/safety.rs",
        "the_module_stays",
    ),
    promise(
        "docs/valkey.md",
        "the change with the later clock wins",
        "valkey/src/registry/entry.rs",
        "the_later_stamp_wins",
    ),
    promise(
        "docs/valkey.md",
        "commands that change functions, triggers or schedules wait as writes do",
        "tests/all/engines/paused.rs",
        "changes_wait_while_clients_are_paused",
    ),
    promise(
        "docs/valkey.md",
        "a command the engine's own error",
        "tests/all/walls/access_control.rs",
        "each_command_gets_its_own_reply",
    ),
    promise(
        "docs/valkey.md",
        "In addition, the function's `PERMISSIONS` apply.",
        "tests/all/walls/touched.rs",
        "a_function_touches_only_what_its_permissions_allow",
    ),
    promise(
        "docs/store.md",
        "No command reaches it, not even `FLUSHALL` or `SWAPDB`",
        "store/tests/all/records.rs",
        "no_command_reaches_records",
    ),
    promise(
        "docs/store.md",
        "A transaction therefore sees only states that existed",
        "store/tests/all/isolation.rs",
        "a_reader_never_sees_half_of_a_commit",
    ),
    promise(
        "docs/store.md",
        "both take effect at its commit and become durable in the same batch, or neither does",
        "store/tests/all/records.rs",
        "a_conflict_leaves_neither_keys_nor_records",
    ),
    promise(
        "docs/store.md",
        "Each read sees what is committed at its moment; nothing is recorded, so nothing conflicts",
        "store/tests/all/isolation.rs",
        "the_latest_is_read_without_a_conflict_and_without_a_write",
    ),
    promise(
        "docs/store.md",
        "The reads of that call still count for the commit.",
        "store/tests/all/savepoints.rs",
        "what_was_read_before_it_was_taken_back_still_counts",
    ),
    promise(
        "docs/store.md",
        "what an operation that runs out of memory leaves is whole commits",
        "store/tests/all/allocations.rs",
        "an_allocation_that_fails_ends_the_process_and_leaves_whole_commits",
    ),
    promise(
        "docs/store.md",
        "Damaged data is reported and never loaded in part",
        "store/src/durable/load.rs",
        "damaged_records_are_told_or_read_without_a_panic",
    ),
    promise(
        "docs/configuration.md",
        "the user may only call, look at and manage functions with such names",
        "tests/all/authentication.rs",
        "a_user_of_some_functions_learns_nothing_of_others",
    ),
    promise(
        "docs/commands.md",
        "it hands bytes of the function's to the engine's own parser",
        "tests/all/walls/restricted.rs",
        "the_engines_parser_gets_a_payload_only_if_the_command_is_named",
    ),
];

/// The pages whose promises are listed, each with the least number of them.
const PAGES: [(&str, usize); 4] = [
    ("README.md", 7),
    ("docs/security.md", 44),
    ("docs/store.md", 13),
    ("docs/valkey.md", 20),
];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are in a folder of the project");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn each_promise_is_made_and_has_its_test() {
    for Promise {
        page,
        says,
        file,
        test,
    } in PROMISES
    {
        let text = read(page);
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(
            words.join(" ").contains(says),
            "{page} no longer says: {says}"
        );
        let is_there = read(file).contains(&format!("fn {test}("));
        assert!(is_there, "{file} has no test {test}, for {page}: {says}");
    }
    for (page, least) in PAGES {
        let count = PROMISES.iter().filter(|one| one.page == page).count();
        assert!(count >= least, "{page}: {count}");
    }
}
