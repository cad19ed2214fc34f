//! The section on clients.

use std::sync::atomic::Ordering;

use super::{Subject, line};
use crate::process::open_files;

pub(super) fn clients(subject: &Subject<'_>, text: &mut String) {
    let state = subject.state;
    let clients = state.clients.all();
    let input_max = clients
        .iter()
        .map(|client| client.activity.input_bytes.load(Ordering::Relaxed))
        .max();
    line(text, "connected_clients", clients.len());
    line(text, "cluster_connections", 0);
    let clients_max = open_files::connections_max(state.live.max_connections());
    line(text, "maxclients", clients_max);
    line(
        text,
        "client_recent_max_input_buffer",
        input_max.unwrap_or(0),
    );
    line(text, "blocked_clients", state.stats.blocked.get());
    line(text, "tracking_clients", 0);
    line(text, "clients_in_timeout_table", state.stats.blocked.get());
    line(text, "total_blocking_keys", state.store.blocking_keys());
    line(text, "request_memory_bytes", state.request_memory.bytes());
}
