//! Commands about the server: `COMMAND`, `CONFIG`, `INFO`, `SHUTDOWN`, `SLOWLOG`.

pub(crate) mod acl;
pub(crate) mod command;
pub(crate) mod config;
pub(crate) mod function;
pub(crate) mod info;
pub(crate) mod latency;
pub(crate) mod memory;
pub(crate) mod monitor;
pub(crate) mod role;
pub(crate) mod save;
pub(crate) mod shutdown;
pub(crate) mod slowlog;
pub(crate) mod time;
pub(crate) mod wait;
