//! The sections on the data: persistence, figures since the start, replication, keys.

use ferrite_store::{DatabaseUsage, DiskStatus};

use super::{Subject, line};
use crate::observability::from_outside::for_log;

pub(super) fn persistence(subject: &Subject<'_>, text: &mut String) {
    let state = subject.state;
    let backups = state.backups.figures();
    let figures = state.store.figures();
    line(text, "loading", 0);
    line(text, "async_loading", 0);
    let unsaved = figures.commits.saturating_sub(backups.commits);
    line(text, "rdb_changes_since_last_save", unsaved);
    line(text, "rdb_bgsave_in_progress", u8::from(backups.running));
    line(text, "rdb_last_save_time", backups.saved_at);
    let status = if backups.failed { "err" } else { "ok" };
    line(text, "rdb_last_bgsave_status", status);
    let took = backups
        .took
        .map_or(-1, |took| i64::try_from(took.as_secs()).unwrap_or(i64::MAX));
    line(text, "rdb_last_bgsave_time_sec", took);
    line(text, "rdb_current_bgsave_time_sec", -1);
    line(text, "rdb_saves", backups.count);
    // The log of commits is what other servers call their append-only file.
    let disk = state.store.disk_status();
    line(text, "aof_enabled", u8::from(disk.is_some()));
    line(text, "aof_rewrite_in_progress", 0);
    line(text, "aof_rewrite_scheduled", 0);
    line(text, "aof_last_rewrite_time_sec", -1);
    line(text, "aof_current_rewrite_time_sec", -1);
    line(text, "aof_last_bgrewrite_status", "ok");
    let Some(disk) = disk else { return };
    let DiskStatus {
        failure,
        failing_for,
        failures,
        waiting_commits,
        waiting_bytes,
        unsynced_commits,
    } = disk;
    let status = if failure.is_some() { "err" } else { "ok" };
    line(text, "aof_last_write_status", status);
    let cause = failure.unwrap_or_default();
    line(text, "disk_error", for_log(cause.as_bytes()));
    line(text, "disk_failing_seconds", failing_for.as_secs());
    line(text, "disk_failures", failures);
    line(text, "disk_waiting_commits", waiting_commits);
    line(text, "disk_waiting_bytes", waiting_bytes);
    line(text, "disk_unsynced_commits", unsynced_commits);
}

pub(super) fn stats(subject: &Subject<'_>, text: &mut String) {
    let state = subject.state;
    let stats = &state.stats;
    let rates = state.rates.per_second();
    let figures = state.store.figures();
    line(text, "total_connections_received", stats.connections.get());
    line(text, "total_commands_processed", stats.requests.get());
    line(text, "instantaneous_ops_per_sec", rates.requests);
    line(text, "total_net_input_bytes", stats.input_bytes.get());
    line(text, "total_net_output_bytes", stats.output_bytes.get());
    let kibibytes = |bytes: u64| bytes as f64 / 1024.0;
    for (name, bytes) in [
        ("instantaneous_input_kbps", rates.input_bytes),
        ("instantaneous_output_kbps", rates.output_bytes),
    ] {
        line(text, name, format_args!("{:.2}", kibibytes(bytes)));
    }
    line(
        text,
        "rejected_connections",
        stats.connections_rejected.get(),
    );
    line(
        text,
        "timed_out_connections",
        stats.connections_timed_out.get(),
    );
    line(text, "sync_full", 0);
    line(text, "sync_partial_ok", 0);
    line(text, "sync_partial_err", 0);
    line(text, "expired_keys", figures.expired);
    line(text, "evicted_keys", 0);
    line(text, "evicted_clients", 0);
    line(text, "keyspace_hits", figures.hits);
    line(text, "keyspace_misses", figures.misses);
    line(text, "slave_expires_tracked_keys", 0);
    let errors: u64 = state.command_stats.errors().iter().map(|(_, n)| n).sum();
    line(text, "total_error_replies", errors);
    line(text, "protocol_errors", stats.protocol_errors.get());
    line(
        text,
        "acl_access_denied_auth",
        stats.authentication_failures.get(),
    );
}

pub(super) fn replication(subject: &Subject<'_>, text: &mut String) {
    line(text, "role", "master");
    line(text, "connected_slaves", 0);
    line(text, "master_failover_state", "no-failover");
    line(text, "master_replid", &subject.state.run_id);
    line(text, "master_replid2", "0".repeat(40));
    line(text, "master_repl_offset", 0);
    line(text, "second_repl_offset", -1);
    line(text, "repl_backlog_active", 0);
    line(text, "repl_backlog_size", 0);
    line(text, "repl_backlog_first_byte_offset", 0);
    line(text, "repl_backlog_histlen", 0);
}

pub(super) fn keyspace(subject: &Subject<'_>, text: &mut String) {
    for (database, usage) in subject.state.store.usage().into_iter().enumerate() {
        let DatabaseUsage {
            keys,
            expires,
            ttl_millis_mean,
        } = usage;
        if keys > 0 {
            line(
                text,
                &format!("db{database}"),
                format_args!("keys={keys},expires={expires},avg_ttl={ttl_millis_mean}"),
            );
        }
    }
}
