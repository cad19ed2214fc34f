//! Commands about the server: `COMMAND`, `CONFIG`, `INFO`, `SHUTDOWN`, `SLOWLOG`.

pub(crate) mod command;
pub(crate) mod config;
pub(crate) mod info;
pub(crate) mod shutdown;
pub(crate) mod slowlog;
pub(crate) mod wait;
