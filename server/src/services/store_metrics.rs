//! Metrics of the data: keys, lookups, and the way to the disk.

use ferrite_store::{DatabaseUsage, StoreFigures};

use crate::services::metrics_page::Page;
use crate::state::ServerState;

pub(super) fn write(state: &ServerState, page: &mut Page) {
    type KeyMetric = (&'static str, &'static str, fn(&DatabaseUsage) -> usize);
    let usage = state.store.usage();
    let metrics: [KeyMetric; 2] = [
        ("ferrite_keys", "Keys, by database.", |usage| usage.keys),
        (
            "ferrite_expiring_keys",
            "Keys that have a time to live, by database.",
            |usage| usage.expires,
        ),
    ];
    for (name, help, value) in metrics {
        page.head(name, "gauge", help);
        for (database, usage) in usage.iter().enumerate() {
            // Database 0 is always shown, so that there is a metric to look at.
            if usage.keys > 0 || database == 0 {
                page.sample(name, &format!("{{db=\"{database}\"}}"), value(usage));
            }
        }
    }
    let StoreFigures {
        hits,
        misses,
        expired,
        commits,
    } = state.store.figures();
    for (name, help, value) in [
        (
            "ferrite_keyspace_hits_total",
            "Keys that were looked up to be read, and found.",
            hits,
        ),
        (
            "ferrite_keyspace_misses_total",
            "Keys that were looked up to be read, and not found.",
            misses,
        ),
        (
            "ferrite_expired_keys_total",
            "Keys that were removed because they had expired.",
            expired,
        ),
        (
            "ferrite_commits_total",
            "Commands, transactions and calls that wrote.",
            commits,
        ),
    ] {
        page.single(name, "counter", help, value);
    }
    let blocked = state.stats.blocked.get();
    page.single(
        "ferrite_blocked_clients",
        "gauge",
        "Clients that wait for a key, such as by BLPOP.",
        blocked,
    );
    if state.store.disk_status().is_some() {
        write_disk(state, page);
    }
}

fn write_disk(state: &ServerState, page: &mut Page) {
    page.single(
        "ferrite_write_queue_max_bytes",
        "gauge",
        "Bytes of waiting commits above which writes wait.",
        state.config.store.max_write_queue.0,
    );
    let folder = state.config.below_dir(&state.config.store.data_dir);
    if let Ok(system) = rustix::fs::statvfs(&folder) {
        page.single(
            "ferrite_disk_free_bytes",
            "gauge",
            "Free space of the file system that the data is on.",
            system.f_bavail.saturating_mul(system.f_frsize),
        );
        page.single(
            "ferrite_disk_size_bytes",
            "gauge",
            "Size of that file system.",
            system.f_blocks.saturating_mul(system.f_frsize),
        );
    }
}
