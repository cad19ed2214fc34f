//! Background tasks: active expiry and hot reload.

pub(crate) mod active_expiry;
pub(crate) mod hot_reload;
