//! Twenty things that people do with Lua scripts, as functions.
//!
//! Each function has the name of the script in `lua/` that it replaces. `cases.json` is one table for
//! both: the tests run it against the functions here and against the scripts in a real Valkey.

pub mod boards;
pub mod keys;
pub mod limits;
pub mod locks;
pub mod orders;
pub mod queues;
pub mod updates;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use example_cases::{read, run_on_mock};
    use ferrite_wasm_sdk::{Entry, entry};

    use super::{boards, keys, limits, locks, orders, queues, updates};

    const ENTRIES: [&Entry; 20] = [
        entry!(boards::leaderboard_page),
        entry!(boards::leaderboard_submit),
        entry!(keys::delete_by_pattern),
        entry!(keys::session_touch),
        entry!(limits::rate_limit),
        entry!(limits::sliding_window),
        entry!(limits::token_bucket),
        entry!(locks::lock_acquire),
        entry!(locks::lock_extend),
        entry!(locks::lock_release),
        entry!(orders::cart_total),
        entry!(orders::inventory_reserve),
        entry!(orders::transfer),
        entry!(queues::dedupe),
        entry!(queues::delayed_jobs),
        entry!(queues::queue_take),
        entry!(updates::bounded_counter),
        entry!(updates::compare_and_set),
        entry!(updates::keep_maximum),
        entry!(updates::versioned_update),
    ];

    #[test]
    fn every_function_has_cases_and_they_hold() {
        let cases = read(include_str!("../cases.json")).expect("the table is well-formed");
        let named: BTreeSet<_> = cases.iter().map(|case| case.function.as_str()).collect();
        assert_eq!(named, ENTRIES.iter().map(|entry| entry.name).collect());
        for entry in ENTRIES {
            let (of_this, _): (Vec<_>, Vec<_>) = read(include_str!("../cases.json"))
                .expect("the table is well-formed")
                .into_iter()
                .partition(|case| case.function == entry.name);
            run_on_mock(&of_this, entry);
        }
    }
}
