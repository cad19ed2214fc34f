//! Tasks that run beside the connections until the server stops: active expiry, hot reload,
//! schedules, triggers, the outbox, metrics over HTTP.

pub(crate) mod active_expiry;
pub(crate) mod automation;
mod automation_metrics;
pub(crate) mod backup;
pub(crate) mod check_files;
pub(crate) mod disk_watch;
pub(crate) mod engine_functions;
pub(crate) mod hot_reload;
pub(crate) mod memory_release;
pub(crate) mod metrics_http;
mod metrics_page;
mod process_metrics;
pub(crate) mod prometheus;
mod store_metrics;
mod user_metrics;
