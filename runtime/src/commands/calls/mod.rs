//! Commands that run functions, and fetch or end their calls.

pub(crate) mod background;
pub(crate) mod call;
pub(crate) mod call_all;
pub(crate) mod call_async;
pub(crate) mod fcall;
pub(crate) mod kill;
pub(crate) mod profile;
pub(crate) mod result;
