//! The module's commands, as the server calls them.

pub(crate) mod dispatch;
pub(crate) mod manage;
