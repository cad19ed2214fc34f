//! Commands that change the registry: load, define, reload, configure, unload.

pub(crate) mod config;
pub(crate) mod define;
pub(crate) mod load;
pub(crate) mod reload;
pub(crate) mod unload;
