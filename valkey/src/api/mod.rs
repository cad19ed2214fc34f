//! The server's module API, wrapped: the only code that touches its C interface.

pub(crate) mod acl;
pub(crate) mod bus;
pub(crate) mod cluster_nodes;
pub(crate) mod collection;
pub(crate) mod command_call;
pub(crate) mod context;
pub(crate) mod ffi;
pub(crate) mod key;
pub(crate) mod locked_cell;
pub(crate) mod log;
pub(crate) mod panic_guard;
pub(crate) mod replicate;
pub(crate) mod reply;
pub(crate) mod string;
pub(crate) mod trap_handlers;
